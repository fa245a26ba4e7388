#include "tests/sim/scenario.h"

#include <algorithm>
#include <string>

#include "coordinator/core/plan.h"
#include "model/gguf/gguf.h"
#include "tests/sim/oracle.h"
#include "tests/sim/random.h"
#include "tests/support/tiny_model.h"

namespace potluck::sim {
namespace {

using namespace std::chrono_literals;

nanoseconds up_to(Random& random, nanoseconds most) {
    return nanoseconds(random.below(static_cast<std::uint64_t>(most.count()) + 1));
}

coordinator::GenerationRequest random_request(Random& random, std::size_t context) {
    const std::size_t vocabulary = bundled_tokenizer()->vocabulary_size();
    coordinator::GenerationRequest request;
    const std::size_t longest =
        random.one_in(4) ? context - 1 : std::min<std::size_t>(12, context - 1);
    request.prompt.resize(random.between(1, longest));
    // Few different tokens: prompts that begin alike must not get in each other's way.
    const std::size_t different = random.one_in(2) ? 2 : vocabulary;
    for (auto& token : request.prompt)
        token = static_cast<TokenId>(random.below(different));
    request.n = random.one_in(3) ? static_cast<std::uint32_t>(random.between(2, 4)) : 1;
    request.max_tokens = random.one_in(10) ? 0 : static_cast<std::uint32_t>(random.between(1, 20));
    request.sampler.seed = random.next();
    request.ignore_eos = random.one_in(4);
    request.logprobs = random.one_in(3);
    request.top_logprobs = static_cast<std::uint16_t>(random.below(4));
    request.priority =
        random.one_in(4) ? coordinator::Priority::kBatch : coordinator::Priority::kInteractive;
    return request;
}

/// What somebody says after an answer: the conversation so far, and a little more.
void continue_conversation(Random& random, const Scenario& s, const ScenarioRequest& before,
                           coordinator::GenerationRequest& request) {
    auto prompt = before.request.prompt;
    const auto answer = expected_answer(s, before.request);
    for (const auto& report : answer.front().tokens)
        prompt.push_back(report.token);
    for (auto more = random.between(1, 3); more > 0; --more)
        prompt.push_back(static_cast<TokenId>(random.below(2)));
    if (prompt.size() < s.limits.context) request.prompt = std::move(prompt);
}

std::vector<coordinator::StageCost> random_costs(Random& random, std::size_t stages) {
    std::vector<coordinator::StageCost> costs;
    for (std::size_t i = 0; i < stages; ++i) {
        costs.push_back({.curve = coordinator::CostCurve(up_to(random, 2ms), up_to(random, 300us)),
                         .hop = up_to(random, 300us)});
    }
    return costs;
}

}  // namespace

std::shared_ptr<const model::Tokenizer> bundled_tokenizer() {
    static const auto tokenizer = test::must(model::Tokenizer::load(
        *test::must(model::gguf::Gguf::open(POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf"))));
    return tokenizer;
}

Scenario random_scenario(std::uint64_t seed) {
    Random random(seed);
    Scenario s;
    s.seed = seed;
    const std::size_t stages = random.between(1, 4);
    for (std::size_t i = 0; i < stages; ++i)
        s.layers.push_back(static_cast<LayerIndex>(random.between(1, 2)));
    s.limits.stages = stages;
    s.limits.max_in_flight = random.between(1, stages + 1);
    s.limits.max_batch_rows = random.between(2, 24);
    s.limits.page_tokens = std::size_t{1} << random.between(0, 4);
    s.limits.context = random.between(8, 64);
    s.limits.slots = random.between(1, 8);
    const std::size_t each = (s.limits.context + s.limits.page_tokens - 1) / s.limits.page_tokens;
    s.limits.kv_pages = random.between(each, each * s.limits.slots);
    s.scheduler.prefill_chunk = random.one_in(3) ? 0 : random.between(1, 16);
    s.scheduler.step_budget = up_to(random, 20ms);
    s.scheduler.kept_sequences = random.one_in(6) ? 0 : random.between(1, 10);
    s.scheduler.least_shared = random.between(0, 8);
    s.scheduler.growth_tokens = random.one_in(3) ? 64 : random.below(6);
    if (random.one_in(2)) s.limits.costs = random_costs(random, stages);
    s.scheduler.queue_limit = random.one_in(8) ? random.between(1, 3) : 256;
    s.network.seed = random.next();
    s.network.link.min_delay = 1us;
    s.network.link.max_delay = 1us + up_to(random, random.one_in(3) ? 5ms : 300us);
    s.network.link.bytes_per_second = random.one_in(3) ? random.between(200'000, 50'000'000) : 0;
    if (random.one_in(3)) s.network.window_bytes = random.between(64, 4096);
    s.batch_time_min = up_to(random, 200us);
    s.batch_time_max = s.batch_time_min + up_to(random, 2ms);
    s.row_time = up_to(random, 20us);
    const std::size_t clients = random.between(1, 12);
    const nanoseconds span = random.one_in(3) ? nanoseconds(0) : nanoseconds(60ms);
    const auto tenants = static_cast<std::uint32_t>(random.between(1, 3));
    for (std::size_t client = 0; client < clients; ++client) {
        nanoseconds at = up_to(random, span);
        for (auto more = random.between(1, 2); more > 0; --more) {
            ScenarioRequest r{.id = RequestId(s.requests.size() + 1), .at = at};
            r.request = random_request(random, s.limits.context);
            r.request.tenant = TenantId(static_cast<std::uint32_t>(client) % tenants);
            if (!s.requests.empty() && !random.one_in(3))
                continue_conversation(random, s, s.requests.back(), r.request);
            if (random.one_in(4)) r.hangs_up = at + up_to(random, random.one_in(2) ? 5ms : 60ms);
            s.requests.push_back(std::move(r));
            at += up_to(random, 40ms);
        }
    }
    return s;
}

Scenario random_drafts(std::uint64_t seed) {
    Scenario s = random_scenario(seed);
    add_drafts(s, seed);
    return s;
}

void add_drafts(Scenario& s, std::uint64_t seed) {
    Random random(mix(seed, 77));
    static constexpr double kRight[] = {0, 0.3, 0.5, 0.7, 0.9, 1};
    s.drafts = FakeDraftOptions{.seed = random.next(),
                                .right = kRight[random.below(6)],
                                .ahead = random.one_in(3)   ? 0.0
                                         : random.one_in(2) ? 1.0
                                                            : 0.5,
                                .longest = random.between(1, 6),
                                .silent = random.one_in(2) ? 0.0 : 0.2,
                                .from_stage = random.one_in(2)};
    if (random.one_in(2)) {
        s.drafts->job = random.between(2, 6);
        s.drafts->longest = std::max(s.drafts->longest, s.drafts->job);
    }
    // More in flight than stages, as plans have it: somewhere to be ahead.
    if (!random.one_in(4)) s.limits.max_in_flight = coordinator::most_in_flight(s.limits.stages);
    for (auto& r : s.requests) {
        if (!random.one_in(6)) r.request.speculation = "drafts " + std::to_string(r.id.value);
    }
}

Scenario two_and_two(std::uint64_t seed) {
    Random random(seed);
    Scenario s;
    s.seed = seed;
    s.layers = {2, 2};
    s.limits = {.stages = 2,
                .max_in_flight = 3,
                .max_batch_rows = 16,
                .kv_pages = 64,
                .page_tokens = 4,
                .context = 128,
                .slots = 4};
    s.network.seed = random.next();
    s.network.link = {.min_delay = 20us, .max_delay = 60us};
    s.batch_time_min = s.batch_time_max = 1ms;
    for (std::uint64_t client = 1; client <= 2; ++client) {
        ScenarioRequest r{.id = RequestId(client)};
        r.request = {
            .prompt = {1, 2, static_cast<TokenId>(client)}, .max_tokens = 100, .ignore_eos = true};
        s.requests.push_back(std::move(r));
    }
    return s;
}

Scenario shared_beginning(std::size_t shared, std::size_t rest) {
    Scenario s = two_and_two(1);
    s.layers = {1, 2, 1};
    s.limits.stages = 3;
    s.limits.max_in_flight = 4;
    s.limits.max_batch_rows = 256;
    s.limits.page_tokens = 16;
    s.limits.context = shared + rest + 64;
    s.limits.kv_pages = 3 * s.limits.context / s.limits.page_tokens;
    s.requests.resize(2);
    for (std::size_t i = 0; i < 2; ++i) {
        auto& r = s.requests[i];
        r.at = i * 30s;
        r.request = {.max_tokens = 6, .ignore_eos = true};
        for (std::size_t t = 0; t < shared + rest; ++t) {
            const std::size_t differs = t < shared ? 0 : i + 1;
            r.request.prompt.push_back(static_cast<TokenId>((t * 31 + differs * 17) % 900));
        }
    }
    return s;
}

Scenario overload(std::uint64_t seed) {
    Random random(seed);
    Scenario s = two_and_two(seed);
    s.requests.clear();
    s.limits.slots = 8;
    s.limits.kv_pages = 60;
    s.scheduler.queue_limit = 40;
    s.scheduler.growth_tokens = 8;
    s.scheduler.kept_sequences = 6;
    for (std::uint64_t client = 1; client <= 200; ++client) {
        ScenarioRequest r{.id = RequestId(client), .at = up_to(random, 250ms)};
        r.request = random_request(random, s.limits.context);
        r.request.n = 1;
        r.request.max_tokens = static_cast<std::uint32_t>(random.between(1, 60));
        r.request.tenant = TenantId(static_cast<std::uint32_t>(client % 3));
        if (random.one_in(6)) r.hangs_up = r.at + up_to(random, 200ms);
        s.requests.push_back(std::move(r));
    }
    return s;
}

}  // namespace potluck::sim
