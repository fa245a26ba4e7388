#include "weights/service/messages.h"

#include <fmt/format.h>

#include <cstring>
#include <string>

#include "weights/manifest.h"

namespace potluck::weights {
namespace {

Result<Digest> read_digest(const std::string& bytes) {
    if (const auto digest = to_digest(bytes)) return *digest;
    return error(ErrorCode::kCorrupt, fmt::format("weights: an address of {} bytes", bytes.size()));
}

std::string text(const Digest& digest) {
    return std::string(as_text(digest));
}

}  // namespace

std::uint32_t Request::answers() const {
    const auto* run = std::get_if<RunRequest>(&wanted);
    return run == nullptr ? 1 : run->count;
}

Result<Request> read_request(const proto::Control& message) {
    using proto::WeightsRequest;
    if (!message.has_weights_request())
        return error(ErrorCode::kCorrupt, "weights: a message that is no request for any");
    const WeightsRequest& request = message.weights_request();
    switch (request.wanted_case()) {
        case WeightsRequest::kManifest: {
            POTLUCK_ASSIGN(const Digest fingerprint, read_digest(request.manifest()));
            return Request{request.id(), ManifestRequest{fingerprint}};
        }
        case WeightsRequest::kLeaves: {
            POTLUCK_ASSIGN(const Digest root, read_digest(request.leaves()));
            return Request{request.id(), LeavesRequest{root}};
        }
        case WeightsRequest::kRun: {
            const auto& run = request.run();
            POTLUCK_ASSIGN(const Digest root, read_digest(run.root()));
            if (run.count() == 0 || run.count() > kMaxRunChunks || run.first() >= kMaxChunks)
                return error(ErrorCode::kCorrupt, fmt::format("weights: a run of {} chunks from {}",
                                                              run.count(), run.first()));
            return Request{request.id(), RunRequest{root, run.first(), run.count()}};
        }
        case WeightsRequest::WANTED_NOT_SET:
            break;
    }
    return error(ErrorCode::kCorrupt, "weights: a request for nothing that this build knows");
}

proto::Control to_message(const Request& request) {
    proto::Control message;
    auto& out = *message.mutable_weights_request();
    out.set_id(request.id);
    if (const auto* manifest = std::get_if<ManifestRequest>(&request.wanted)) {
        out.set_manifest(text(manifest->fingerprint));
    } else if (const auto* leaves = std::get_if<LeavesRequest>(&request.wanted)) {
        out.set_leaves(text(leaves->root));
    } else {
        const auto& run = std::get<RunRequest>(request.wanted);
        out.mutable_run()->set_root(text(run.root));
        out.mutable_run()->set_first(run.first);
        out.mutable_run()->set_count(run.count);
    }
    return message;
}

Result<std::vector<Digest>> read_leaves(const proto::WeightsAnswer& answer) {
    const std::string& bytes = answer.leaves();
    if (bytes.empty() || bytes.size() % sizeof(Digest) != 0 ||
        bytes.size() / sizeof(Digest) > kMaxChunks)
        return error(ErrorCode::kCorrupt, fmt::format("weights: {} bytes of hashes", bytes.size()));
    std::vector<Digest> leaves(bytes.size() / sizeof(Digest));
    std::memcpy(leaves.data(), bytes.data(), bytes.size());
    return leaves;
}

void put_leaves(std::span<const Digest> leaves, proto::WeightsAnswer& answer) {
    answer.set_leaves(leaves.data(), leaves.size_bytes());
}

Result<ObjectRef> read_manifest_ref(const proto::WeightsAnswer& answer) {
    POTLUCK_ASSIGN(const Digest root, read_digest(answer.root()));
    if (!is_object_size(answer.object_bytes()) || answer.object_bytes() > kMaxManifestBytes)
        return error(ErrorCode::kCorrupt,
                     fmt::format("weights: a manifest of {} bytes", answer.object_bytes()));
    return ObjectRef{root, answer.object_bytes()};
}

}  // namespace potluck::weights
