#include "engine/token_history.h"

#include <algorithm>

#include "base/check.h"

namespace potluck::engine {

void TokenHistory::apply(const Operation& operation) {
    if (operation.kind == OperationKind::kRelease) {
        sequences_.erase(operation.seq);
        return;
    }
    Sequence& sequence = sequences_[operation.seq];
    switch (operation.kind) {
        case OperationKind::kOpen:
            sequence.sampler = operation.sampler;
            sequence.tokens.reserve(max_length_);
            sequence.tokens = operation.tokens;
            break;
        case OperationKind::kFork: {
            const auto& source = sequences_.at(operation.source).tokens;
            sequence.tokens.assign(source.begin(), source.begin() + operation.length);
            break;
        }
        case OperationKind::kTruncate:
            sequence.tokens.resize(operation.length);
            break;
        case OperationKind::kCheckpoint:
            std::erase_if(sequence.checkpoints,
                          [&](const auto& c) { return c.first == operation.checkpoint; });
            sequence.checkpoints.emplace_back(operation.checkpoint, sequence.tokens.size());
            break;
        case OperationKind::kRestore:
            for (const auto& [id, length] : sequence.checkpoints) {
                if (id == operation.checkpoint) sequence.tokens.resize(length);
            }
            break;
        case OperationKind::kCommit:
        case OperationKind::kRelease:
            break;
    }
}

void TokenHistory::record(const Row& row) {
    auto& tokens = sequences_.at(row.seq).tokens;
    if (row.position < tokens.size()) {
        tokens[row.position] = row.token;
    } else {
        POTLUCK_CHECK(row.position == tokens.size());
        tokens.push_back(row.token);
    }
}

const SamplerSpec& TokenHistory::sampler(SeqId seq) const {
    return sequences_.at(seq).sampler;
}

std::span<const TokenId> TokenHistory::until(SeqId seq, std::uint32_t position) const {
    return std::span(sequences_.at(seq).tokens).first(std::size_t{position} + 1);
}

}  // namespace potluck::engine
