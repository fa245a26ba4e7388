// What a hostile peer or a broken disk may hand to whoever wants weights: requests, answers and
// manifests. What is taken must keep to its bounds and survive being written again; a manifest that
// is taken must not let the model reader read outside of it.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "model/gguf/gguf.h"
#include "proto/control.h"
#include "weights/manifest.h"
#include "weights/service/messages.h"

namespace {

using namespace potluck;

void require(bool condition) {
    if (!condition) std::abort();
}

void fuzz_message(std::span<const std::byte> bytes) {
    const auto message = proto::decode_control(bytes);
    if (!message) return;
    if (const auto request = weights::read_request(*message)) {
        require(request->answers() >= 1 && request->answers() <= weights::kMaxRunChunks);
        const auto again = weights::read_request(weights::to_message(*request));
        require(again && again->id == request->id && again->answers() == request->answers());
    }
    if (!message->has_weights_answer()) return;
    const auto& answer = message->weights_answer();
    if (const auto leaves = weights::read_leaves(answer)) {
        require(!leaves->empty() && leaves->size() <= weights::kMaxChunks);
        static_cast<void>(weights::root_of(*leaves));
    }
    if (const auto ref = weights::read_manifest_ref(answer))
        require(weights::is_object_size(ref->bytes) && ref->bytes <= weights::kMaxManifestBytes);
}

void fuzz_manifest(std::span<const std::byte> bytes) {
    const auto manifest = weights::decode_manifest(bytes);
    if (!manifest) return;
    const auto again = weights::encode_manifest(*manifest);
    require(again == std::vector<std::byte>(bytes.begin(), bytes.end()));
    const auto model = model::gguf::Gguf::assemble(
        manifest->heads, "fuzz", [](const auto&) { return std::span<const std::byte>(); }, nullptr);
    if (!model) return;
    for (const auto& tensor : (*model)->tensors())
        require(tensor.data.empty() && !tensor.name.empty());
    static_cast<void>(weights::fingerprint(**model));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
    fuzz_message(bytes);
    fuzz_manifest(bytes);
    return 0;
}
