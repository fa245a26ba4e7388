// The byte stream of a connection from a hostile peer, cut into arbitrary reads: the reader asks
// only for space within its limits, hands out only what came, and the cuts change nothing.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "transport/framing.h"

namespace {

using namespace potluck;
using namespace potluck::transport;

constexpr std::size_t kMaxHead = 200;
constexpr std::size_t kMaxPayload = 100000;

void require(bool condition) {
    if (!condition) std::abort();
}

/// Writes down everything that it is told.
class Protocol final : public Receiver {
  public:
    Result<std::span<std::byte>> on_head(std::span<const std::byte> head, std::size_t n) override {
        require(head.size() <= kMaxHead && n > 0 && n <= kMaxPayload);
        space_.assign(n, std::byte{0});
        return std::span<std::byte>(space_);
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte> payload) override {
        require(payload.empty() || payload.data() == space_.data());
        heard.insert(heard.end(), head.begin(), head.end());
        heard.push_back(std::byte{0xFF});
        heard.insert(heard.end(), payload.begin(), payload.end());
        return {};
    }
    void on_closed(const Error&) override {}
    std::vector<std::byte> heard;

  private:
    std::vector<std::byte> space_;
};

/// Feeds `stream` in reads of at most `most` bytes; false if the reader refused it.
bool feed(std::span<const std::byte> stream, std::size_t most, Protocol& protocol) {
    Limits limits;
    limits.max_head_bytes = kMaxHead;
    limits.max_payload_bytes = kMaxPayload;
    FrameReader reader(limits);
    while (true) {
        auto stepped = reader.step(protocol);
        if (!stepped) return false;
        if (*stepped) continue;
        if (stream.empty()) return true;
        std::size_t read = 0;
        for (const auto space : reader.space()) {
            const std::size_t n = std::min({space.size(), stream.size(), most - read});
            std::copy_n(stream.begin(), n, space.begin());
            stream = stream.subspan(n);
            read += n;
            if (n < space.size()) break;
        }
        require(read > 0);
        reader.filled(read);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::span<const std::byte> all(reinterpret_cast<const std::byte*>(data), size);
    const std::size_t most = 1 + std::to_integer<std::size_t>(all[0]);
    Protocol in_one;
    Protocol in_parts;
    const bool whole = feed(all.subspan(1), SIZE_MAX, in_one);
    const bool parts = feed(all.subspan(1), most, in_parts);
    require(whole == parts && in_one.heard == in_parts.heard);
    return 0;
}
