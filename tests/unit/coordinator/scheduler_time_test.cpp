// What the scheduler's choices cost in time, on stages that take exactly what a curve says. Virtual
// time: nothing here measures the machine.

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/unit/coordinator/timed_pipeline.h"

namespace potluck::coordinator {
namespace {

using namespace std::chrono_literals;

struct Shape {
    const char* name;
    nanoseconds base;
    nanoseconds per_row;
    std::vector<int> stages;  ///< how long each takes, relative to the others
    std::size_t users;
};
void PrintTo(const Shape& shape, std::ostream* out) {
    *out << shape.name;
}

std::vector<StageCost> stages_of(const Shape& shape) {
    std::vector<StageCost> stages;
    for (const int weight : shape.stages) {
        stages.push_back(
            {.curve = CostCurve(shape.base * weight, shape.per_row * weight), .hop = 100us});
    }
    return stages;
}

PipelineLimits limits_for(std::size_t stages, std::size_t slots) {
    return {.stages = stages,
            .max_in_flight = stages + 1,
            .max_batch_rows = 512,
            .kv_pages = 20'000,
            .page_tokens = 64,
            .context = 8192,
            .slots = slots};
}

/// Prompts that share nothing.
GenerationRequest ask(std::uint64_t id, std::size_t prompt, std::uint32_t max_tokens) {
    GenerationRequest request{.max_tokens = max_tokens};
    for (std::size_t i = 0; i < prompt; ++i)
        request.prompt.push_back(static_cast<TokenId>((id * 131 + i * 7) % 1000));
    request.prompt.front() = static_cast<TokenId>(id);
    return request;
}

class Throughput : public ::testing::TestWithParam<Shape> {};

TEST_P(Throughput, IsThatOfTheBestConstantBatches) {
    const auto stages = stages_of(GetParam());
    const std::size_t users = GetParam().users;
    auto limits = limits_for(stages.size(), users);
    double best = 0;
    for (std::size_t batches = 1; batches <= std::min(users, limits.max_in_flight); ++batches)
        best = std::max(best, constant_throughput(stages, users, batches));
    TimedPipeline p(stages, limits);
    for (std::uint64_t id = 1; id <= users; ++id)
        p.submit_at(0s, id, ask(id, 4, 4000));
    // Let them settle, then count.
    const auto cycle =
        nanoseconds(static_cast<std::int64_t>(1e9 * static_cast<double>(users) / best));
    p.run_until(60 * cycle);
    const auto tokens = p.tokens;
    const auto begin = p.now;
    p.run_until(begin + 100 * cycle);
    const double seconds = static_cast<double>((p.now - begin).count()) / 1e9;
    const double reached = static_cast<double>(p.tokens - tokens) / seconds / best;
    RecordProperty("share_of_best", std::to_string(reached));
    EXPECT_GE(reached, 0.97) << GetParam().name;
}

std::vector<Shape> shapes() {
    struct Cost {
        const char* name;
        nanoseconds base;
        nanoseconds per_row;
    };
    static const Cost costs[] = {
        {"Constant", 20ms, 20us}, {"Mixed", 8ms, 1ms}, {"Rows", 200us, 2ms}};
    static const std::pair<const char*, std::vector<int>> pipelines[] = {
        {"One", {1}}, {"Four", {1, 1, 1, 1}}, {"OneTwoFour", {1, 2, 4}}};
    static std::deque<std::string> names;
    std::vector<Shape> all;
    for (const auto& cost : costs) {
        for (const auto& [pipeline, weights] : pipelines) {
            for (const std::size_t users : {1U, 8U, 64U}) {
                names.push_back(std::string(cost.name) + pipeline + std::to_string(users));
                all.push_back({names.back().c_str(), cost.base, cost.per_row, weights, users});
            }
        }
    }
    return all;
}
INSTANTIATE_TEST_SUITE_P(All, Throughput, ::testing::ValuesIn(shapes()),
                         [](const auto& instance) { return instance.param.name; });

// A model of 0.6 B parameters on one thread per stage: 300 prompt tokens per second and stage set.
std::vector<StageCost> small_model(std::size_t stages) {
    const auto n = static_cast<std::int64_t>(stages);
    return {stages, {.curve = CostCurve(24ms / n, 3300us / n), .hop = 200us}};
}

TEST(SchedulerTime, ALongPromptInterruptsNobodyForLong) {
    for (const std::size_t stages : {1U, 2U}) {
        for (const std::size_t decoding : {1U, 4U, 8U}) {
            TimedPipeline p(small_model(stages), limits_for(stages, 16));
            for (std::uint64_t id = 1; id <= decoding; ++id)
                p.submit_at(id * 37ms, id, ask(id, 20, 400));
            p.submit_at(3s, 100, ask(100, 1536, 20));
            p.run_until(600s);
            for (std::uint64_t id = 1; id <= decoding; ++id) {
                const auto& client = p.clients[id];
                ASSERT_TRUE(client.done);
                EXPECT_LE(client.longest_gap(), 250ms) << stages << " stages, client " << id;
            }
            // The prompt alone takes 5.2 s over one stage; beside others it may take twice that.
            EXPECT_LE(p.clients[100].first_token(), 11s / static_cast<int>(stages));
        }
    }
}

TEST(SchedulerTime, OfPromptsThatComeTogetherTheFirstIsAsFastAsAlone) {
    for (const std::size_t stages : {1U, 2U, 4U}) {
        TimedPipeline alone(small_model(stages), limits_for(stages, 8));
        alone.submit_at(0s, 1, ask(1, 600, 2));
        alone.run_until(60s);
        TimedPipeline p(small_model(stages), limits_for(stages, 8));
        for (std::uint64_t id = 1; id <= 4; ++id)
            p.submit_at(0s, id, ask(id, 600, 2));
        p.run_until(60s);
        const auto first = p.clients[1].first_token();
        EXPECT_LE(first, alone.clients[1].first_token() * 115 / 100) << stages << " stages";
        EXPECT_LT(p.clients[1].first_token(), p.clients[2].first_token());
        EXPECT_LT(p.clients[2].first_token(), p.clients[3].first_token());
    }
}

/// Rows of a long prompt that came just behind it fill the batch of a short one, but no further
/// than the full chunk by which its fair share is judged.
TEST(SchedulerTime, AShortPromptWaitsForNoMoreThanAFullChunkOfTheOneBehindIt) {
    const std::vector<StageCost> stage{{.curve = CostCurve(2ms, 60us), .hop = 100us}};
    TimedPipeline p(stage, limits_for(1, 8));
    p.submit_at(0s, 1, ask(1, 20, 2000));
    p.submit_at(1s, 2, ask(2, 5, 8));
    p.submit_at(1s, 3, ask(3, 2000, 8));
    p.run_until(60s);
    const auto full = stage[0].curve.time(kFullChunk);
    const auto step = stage[0].curve.time(1);
    EXPECT_LE(p.clients[2].first_token(), full + step + 1ms);
    // They are worth their place: the long one is not put off by the short one.
    EXPECT_LE(p.clients[3].first_token(), 2 * stage[0].curve.time(1000) + full);
}

TEST(SchedulerTime, TwoStagesFeedAPromptNearlyTwiceAsFast) {
    nanoseconds times[2];
    for (const std::size_t stages : {1U, 2U}) {
        TimedPipeline p(small_model(stages), limits_for(stages, 8));
        p.submit_at(0s, 1, ask(1, 512, 1));
        p.run_until(60s);
        times[stages - 1] = p.clients[1].first_token();
    }
    EXPECT_GE(static_cast<double>(times[0].count()) / static_cast<double>(times[1].count()), 1.6);
}

TEST(SchedulerTime, EveryFirstTokenComesWithinTwiceItsFairShare) {
    for (const std::size_t stages : {1U, 4U}) {
        const auto cost = small_model(stages);
        TimedPipeline p(cost, limits_for(stages, 64));
        const double rate = Pacing(cost, stages + 1, 512).prefill_rate();
        std::map<std::uint64_t, std::pair<nanoseconds, std::size_t>> asked;
        std::uint64_t id = 1;
        for (int wave = 0; wave < 4; ++wave) {
            for (int i = 0; i < 10; ++i, ++id) {
                const auto at = wave * 9s + i * 200ms;
                const std::size_t prompt = 60 + id * 97 % 500;
                auto request = ask(id, prompt, 30);
                if (id % 3 == 0) request.priority = Priority::kBatch;
                request.tenant = TenantId(static_cast<std::uint32_t>(id % 4));
                asked[id] = {at, prompt};
                p.submit_at(at, id, std::move(request));
            }
        }
        p.run_until(600s);
        for (const auto& [one, what] : asked) {
            // Work that was waiting when it came: of those whose first token had not come.
            double work = 0;
            for (const auto& [other, theirs] : asked) {
                const auto first = p.clients[other].tokens.front();
                if (theirs.first <= what.first && first > what.first)
                    work += static_cast<double>(theirs.second);
            }
            const auto fair = nanoseconds(static_cast<std::int64_t>(1e9 * work / rate));
            EXPECT_LE(p.clients[one].first_token(), 2 * fair + 200ms)
                << stages << " stages, request " << one;
        }
    }
}

}  // namespace
}  // namespace potluck::coordinator
