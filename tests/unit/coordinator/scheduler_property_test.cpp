// Random requests, random cancels, random limits, answered by the simplest of pipelines. Its page
// table has exactly the coordinator's number of pages: had the scheduler ever promised more than
// there are, a row would find none.

#include <gtest/gtest.h>

#include "base/rng.h"
#include "tests/unit/coordinator/support.h"

namespace potluck::coordinator {
namespace {

class Draws {
  public:
    explicit Draws(std::uint64_t seed) : seed_(seed) {}
    std::size_t between(std::size_t low, std::size_t high) {
        const double share = uniform(seed_, next_++);
        return low + static_cast<std::size_t>(share * static_cast<double>(high - low + 1));
    }

  private:
    std::uint64_t seed_;
    std::uint64_t next_ = 0;
};

PipelineLimits random_limits(Draws& draws) {
    PipelineLimits limits;
    limits.stages = draws.between(1, 4);
    limits.max_in_flight = draws.between(1, 5);
    limits.max_batch_rows = draws.between(1, 12);
    limits.page_tokens = draws.between(1, 8);
    limits.context = draws.between(2, 40);
    limits.slots = draws.between(1, 5);
    const std::size_t each = (limits.context + limits.page_tokens - 1) / limits.page_tokens;
    limits.kv_pages = draws.between(each, 3 * each);
    return limits;
}

GenerationRequest random_request(Draws& draws, const PipelineLimits& limits) {
    GenerationRequest request;
    request.prompt.assign(draws.between(1, limits.context), TokenId{5});
    request.max_tokens = static_cast<std::uint32_t>(draws.between(0, 12));
    request.n = static_cast<std::uint32_t>(draws.between(1, 4));
    if (draws.between(0, 3) == 0) request.stop = {"xyx"};
    return request;
}

TEST(SchedulerProperty, EveryRequestEndsOnceAndPagesAreNeverOverCommitted) {
    std::size_t taken = 0;
    std::size_t refused = 0;
    std::size_t cancelled = 0;
    for (std::uint64_t seed = 1; seed <= 300; ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        Draws draws(seed);
        Pipeline p(random_limits(draws),
                   {.queue_limit = draws.between(1, 6), .prefill_chunk = draws.between(1, 9)});
        p.next_token = [&, x = token_of("x"), y = token_of("y"),
                        end = bundled_tokenizer()->end_of_generation_tokens().front()](const Row&) {
            const auto kind = draws.between(0, 12);
            return kind == 0 ? end : kind < 7 ? x : y;
        };
        std::uint64_t next_id = 1;
        for (int step = 0; step < 120; ++step) {
            const auto what = draws.between(0, 9);
            if (what < 2) {
                const auto answer = p.submit(next_id++, random_request(draws, p.limits));
                if (!answer) {
                    EXPECT_TRUE(answer.error().code == ErrorCode::kInvalidArgument ||
                                answer.error().code == ErrorCode::kResourceExhausted)
                        << answer.error().message;
                }
                ++(answer ? taken : refused);
            } else if (what == 2 && next_id > 1) {
                const auto id = draws.between(1, next_id - 1);
                if (!p.told.contains(id) || p.told[id].endings > 0) continue;
                p.cancel(id);
                ++cancelled;
            } else {
                p.answer();
            }
            if (testing::Test::HasFailure()) return;
        }
        p.drain();
        p.expect_idle();
        if (testing::Test::HasFailure()) return;
    }
    EXPECT_GT(taken, 2000U);
    EXPECT_GT(refused, 500U);
    EXPECT_GT(cancelled, 300U);
}

}  // namespace
}  // namespace potluck::coordinator
