#include "proto/control.h"

#include <fmt/core.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <google/protobuf/stubs/logging.h>

#include <algorithm>
#include <climits>

#include "base/check.h"
#include "proto/wire.h"

namespace potluck::proto {
namespace {

static_assert(kMaxControlBytes <= INT_MAX, "protobuf counts bytes in int");

/// Length of the valid UTF-8 character at the start of `text`, 0 if there is none. Unicode 15,
/// table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
std::size_t character_bytes(std::string_view text) {
    const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char first = at(0);
    if (first < 0x80) return 1;
    const std::size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return 0;
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
    if (at(1) < low || at(1) > high) return 0;
    for (std::size_t i = 2; i < bytes; ++i)
        if (at(i) < 0x80 || at(i) > 0xBF) return 0;
    return bytes;
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t bytes = character_bytes(text);
        if (bytes == 0) return false;
        text.remove_prefix(bytes);
    }
    return true;
}

/// Makes every string of `message` valid, whatever fields later versions of control.proto have.
/// control.proto has no recursive message, so that the depth is a constant.
void make_utf8(google::protobuf::Message& message) {
    using google::protobuf::FieldDescriptor;
    const auto* reflection = message.GetReflection();
    std::vector<const FieldDescriptor*> fields;
    reflection->ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
        const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
        for (int i = 0; i < count; ++i) {
            if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
                make_utf8(field->is_repeated()
                              ? *reflection->MutableRepeatedMessage(&message, field, i)
                              : *reflection->MutableMessage(&message, field));
            } else if (field->type() == FieldDescriptor::TYPE_STRING) {
                const std::string text = field->is_repeated()
                                             ? reflection->GetRepeatedString(message, field, i)
                                             : reflection->GetString(message, field);
                if (is_utf8(text)) continue;
                if (field->is_repeated()) {
                    reflection->SetRepeatedString(&message, field, i, to_utf8(text));
                } else {
                    reflection->SetString(&message, field, to_utf8(text));
                }
            }
        }
    }
}

}  // namespace

std::string to_utf8(std::string_view text) {
    std::string valid;
    valid.reserve(text.size());
    while (!text.empty()) {
        const std::size_t bytes = character_bytes(text);
        if (bytes == 0) {
            valid += '?';
        } else {
            valid += text.substr(0, bytes);
        }
        text.remove_prefix(std::max<std::size_t>(bytes, 1));
    }
    return valid;
}

bool is_control(std::span<const std::byte> head) {
    return head.size() >= kControlPrefixBytes && WireReader(head).u32() == kControlMagic;
}

std::vector<std::byte> encode_control(const Control& message) {
    Control valid = message;
    make_utf8(valid);
    const std::size_t body = valid.ByteSizeLong();
    POTLUCK_CHECK(body <= INT_MAX);
    std::vector<std::byte> out(kControlPrefixBytes + body);
    WireWriter prefix(std::span<std::byte>(out).first(kControlPrefixBytes));
    prefix.u32(kControlMagic);
    prefix.u32(kControlVersion);
    const bool written =
        valid.SerializeToArray(out.data() + kControlPrefixBytes, static_cast<int>(body));
    POTLUCK_CHECK(written);
    return out;
}

Result<Control> decode_control(std::span<const std::byte> head) {
    if (!is_control(head)) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("control.magic: these {} bytes are no control message", head.size()));
    }
    const std::uint32_t version = WireReader(head.subspan(4)).u32();
    if (version != kControlVersion) {
        return error(
            ErrorCode::kUnsupported,
            fmt::format("control.version: {}, this build knows {}", version, kControlVersion));
    }
    const auto body = head.subspan(kControlPrefixBytes);
    if (body.size() > kMaxControlBytes) {
        return error(ErrorCode::kCorrupt, fmt::format("control: {} bytes are more than {}",
                                                      body.size(), kMaxControlBytes));
    }
    // The library would write a line to stderr for every string that is not UTF-8: what strangers
    // send must not fill a log.
    const google::protobuf::LogSilencer quiet;
    Control message;
    if (!message.ParseFromArray(body.data(), static_cast<int>(body.size()))) {
        return error(ErrorCode::kCorrupt, "control: the message cannot be parsed");
    }
    if (message.message_case() == Control::MESSAGE_NOT_SET) {
        return error(ErrorCode::kUnsupported, "control.message: none that this build knows");
    }
    return message;
}

Result<std::uint16_t> negotiate(std::uint16_t min, std::uint16_t max, std::uint32_t peer_min,
                                std::uint32_t peer_max) {
    POTLUCK_CHECK(min <= max);
    if (peer_min > peer_max || peer_max == 0) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format("hello: the peer claims wire versions {} to {}", peer_min, peer_max));
    }
    const std::uint32_t best = std::min<std::uint32_t>(max, peer_max);
    if (best < min || best < peer_min) {
        return error(
            ErrorCode::kUnsupported,
            fmt::format("no common wire version: this side speaks {} to {}, the peer {} to "
                        "{}; update {}",
                        min, max, peer_min, peer_max, best == max ? "this side" : "the peer"));
    }
    return static_cast<std::uint16_t>(best);
}

}  // namespace potluck::proto
