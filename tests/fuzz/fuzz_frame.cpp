// Heads of frames from a hostile peer: whatever is accepted must have one spelling only, so that it
// encodes to the same bytes again; control messages must survive a round trip.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "proto/control.h"
#include "proto/frame.h"

namespace {

using namespace potluck;

void require(bool condition) {
    if (!condition) std::abort();
}

proto::FrameRoute route_of(const proto::FrameHeader& header) {
    return {header.epoch, header.pipeline, header.stage};
}

void fuzz_data(std::span<const std::byte> head) {
    proto::FrameHeader header;
    Batch batch;
    StepResult result;
    std::vector<std::byte> again;
    const auto only_header = proto::decode_header(head);
    const bool rows = proto::decode_rows(head, header, batch).has_value();
    if (rows) {
        require(only_header.has_value() && *only_header == header);
        proto::encode_rows(route_of(header), batch, header.row_width, again);
    }
    const bool results = proto::decode_result(head, header, result).has_value();
    require(!(rows && results));
    if (results) {
        require(only_header.has_value() && *only_header == header);
        proto::encode_result(route_of(header), result, again);
    }
    if (rows || results) {
        require(again == std::vector<std::byte>(head.begin(), head.end()));
    }
}

void fuzz_control(std::span<const std::byte> head) {
    const auto decoded = proto::decode_control(head);
    if (!decoded) return;
    const auto encoded = proto::encode_control(*decoded);
    const auto again = proto::decode_control(encoded);
    require(again.has_value());
    require(proto::encode_control(*again) == encoded);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> head(reinterpret_cast<const std::byte*>(data), size);
    fuzz_data(head);
    fuzz_control(head);
    return 0;
}
