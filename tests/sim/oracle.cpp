#include "tests/sim/oracle.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "tests/sim/fake_model.h"
#include "tests/support/tiny_model.h"

namespace potluck::sim {
namespace {

using coordinator::FinishReason;
using coordinator::GenerationRequest;

ExpectedChoice expected_choice(const Scenario& scenario, const GenerationRequest& request,
                               std::uint64_t seed) {
    const auto tokenizer = bundled_tokenizer();
    const std::size_t context = scenario.limits.context;
    FakeModel model({.end = std::accumulate(scenario.layers.begin(), scenario.layers.end(), 0U),
                     .vocabulary = static_cast<std::uint32_t>(tokenizer->vocabulary_size()),
                     .end_token = end_token(),
                     .pages = 1,
                     .page_tokens = context,
                     .context = context,
                     .max_rows = context});
    SamplerSpec sampler = request.sampler;
    sampler.seed = seed;
    if (request.ignore_eos) {
        for (const TokenId token : tokenizer->end_of_generation_tokens())
            sampler.logit_bias.emplace_back(token, -std::numeric_limits<float>::infinity());
    }
    const SeqId seq(1);
    Batch batch;
    batch.operations.push_back({.kind = OperationKind::kOpen, .seq = seq, .sampler = sampler});
    for (const TokenId token : request.prompt) {
        batch.rows.push_back({.seq = seq,
                              .position = static_cast<std::uint32_t>(batch.rows.size()),
                              .token = token});
    }
    const std::size_t room = context - request.prompt.size();
    const std::size_t most =
        request.max_tokens == 0 ? room : std::min<std::size_t>(request.max_tokens, room);
    ExpectedChoice expected;
    model::StreamDecoder decoder(tokenizer);
    StepResult result;
    while (true) {
        batch.rows.back().flags = kRowSample;
        batch.rows.back().logprobs = request.logprobs ? request.top_logprobs : kNoLogprobs;
        test::must(model.run(batch, {}, {}, result));
        const ResultRow& row = result.rows.at(0);
        expected.ended_by_token = tokenizer->ends_generation(row.token);
        expected.last = row.token;
        if (expected.ended_by_token) {
            expected.reason = FinishReason::kStop;
            break;
        }
        expected.tokens.push_back({row.token, row.logprob, result.entries});
        expected.text += decoder.push(row.token);
        if (expected.tokens.size() == most) break;
        batch = {.rows = {{.seq = seq, .position = row.position + 1, .token = row.token}}};
    }
    expected.text += decoder.flush();
    return expected;
}

}  // namespace

TokenId end_token() {
    return bundled_tokenizer()->end_of_generation_tokens().front();
}

std::vector<ExpectedChoice> expected_answer(const Scenario& scenario,
                                            const GenerationRequest& request) {
    std::vector<ExpectedChoice> choices;
    for (std::uint32_t choice = 0; choice < request.n; ++choice)
        choices.push_back(expected_choice(scenario, request, request.sampler.seed + choice));
    return choices;
}

}  // namespace potluck::sim
