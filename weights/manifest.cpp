#include "weights/manifest.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace potluck::weights {
namespace {

constexpr std::uint64_t kMagic = 0x46494E414D4B4C50;  // "PLKMANIF"
constexpr std::uint64_t kVersion = 1;
constexpr std::uint64_t kMaxFiles = 65535;
constexpr std::uint64_t kMaxTensors = 1U << 20;
constexpr std::size_t kSampledTensors = 64;
constexpr std::size_t kSampleBytes = 4096;

void put(std::vector<std::byte>& to, std::uint64_t value) {
    for (int i = 0; i < 8; ++i)
        to.push_back(static_cast<std::byte>(value >> (8 * i)));
}

/// The next number, or 0 and nothing left of `from`.
std::uint64_t take(std::span<const std::byte>& from) {
    if (from.size() < 8) {
        from = {};
        return 0;
    }
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i)
        value |= std::to_integer<std::uint64_t>(from[i]) << (8 * i);
    from = from.subspan(8);
    return value;
}

}  // namespace

std::vector<std::byte> encode_manifest(const Manifest& manifest) {
    std::vector<std::byte> out;
    for (const std::uint64_t number : {kMagic, kVersion, std::uint64_t{manifest.heads.size()},
                                       std::uint64_t{manifest.roots.size()}})
        put(out, number);
    for (const auto& head : manifest.heads) {
        put(out, head.file_bytes);
        put(out, head.bytes.size());
    }
    for (const auto& head : manifest.heads)
        out.insert(out.end(), head.bytes.begin(), head.bytes.end());
    for (const auto& root : manifest.roots)
        out.insert(out.end(), root.begin(), root.end());
    return out;
}

Result<Manifest> decode_manifest(std::span<const std::byte> bytes) {
    const auto bad = [](std::string what) {
        return error(ErrorCode::kCorrupt, "manifest: " + std::move(what));
    };
    auto left = bytes;
    if (bytes.size() > kMaxManifestBytes || take(left) != kMagic)
        return bad("these bytes are none");
    if (const auto version = take(left); version != kVersion)
        return error(ErrorCode::kUnsupported,
                     fmt::format("manifest: version {}, this build knows {}", version, kVersion));
    const std::uint64_t files = take(left);
    const std::uint64_t tensors = take(left);
    if (files == 0 || files > kMaxFiles || tensors > kMaxTensors || left.size() / 16 < files)
        return bad(
            fmt::format("{} files and {} tensors in {} bytes", files, tensors, bytes.size()));
    Manifest manifest;
    std::vector<std::uint64_t> head_bytes;
    for (std::uint64_t i = 0; i < files; ++i) {
        manifest.heads.push_back({.file_bytes = take(left)});
        head_bytes.push_back(take(left));
    }
    for (std::uint64_t i = 0; i < files; ++i) {
        auto& head = manifest.heads[i];
        if (head_bytes[i] > left.size() || head_bytes[i] > head.file_bytes)
            return bad(fmt::format("the head of file {} has {} bytes", i, head_bytes[i]));
        head.bytes = left.first(head_bytes[i]);
        left = left.subspan(head_bytes[i]);
    }
    if (left.size() != tensors * sizeof(Digest))
        return bad(fmt::format("{} bytes for {} addresses", left.size(), tensors));
    manifest.roots.resize(tensors);
    if (!left.empty()) std::memcpy(manifest.roots.data(), left.data(), left.size());
    return manifest;
}

Digest fingerprint(const model::gguf::Gguf& file) {
    Sha256 sum;
    for (std::uint32_t shard = 0; shard < file.shard_count(); ++shard) {
        const auto head = file.head(shard);
        sum.add(head.file_bytes).add(std::uint64_t{head.bytes.size()}).add(head.bytes);
    }
    const auto tensors = file.tensors();
    const std::size_t step = std::max<std::size_t>(tensors.size() / kSampledTensors, 1);
    for (std::size_t i = 0; i < tensors.size(); i += step) {
        const auto data = tensors[i].data;
        const std::size_t n = std::min(data.size(), kSampleBytes);
        sum.add(data.subspan((data.size() - n) / 2, n));
    }
    return sum.finish();
}

}  // namespace potluck::weights
