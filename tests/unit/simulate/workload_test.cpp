#include "coordinator/simulate/workload.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace potluck::simulate {
namespace {

using namespace std::chrono_literals;

std::size_t common(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
    const auto [x, y] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
    return static_cast<std::size_t>(x - a.begin());
}

TEST(Workload, IsAFunctionOfTheSeedAndTheUser) {
    WorkloadOptions options{.seed = 7, .users = 3};
    Workload one(options), other(options);
    // The order in which users come changes nothing for any of them.
    const auto first = one.next(0);
    const auto second = one.next(2);
    EXPECT_EQ(other.next(2).prompt, second.prompt);
    EXPECT_EQ(other.next(0).prompt, first.prompt);
    options.seed = 8;
    EXPECT_NE(Workload(options).next(0).prompt, first.prompt);
}

TEST(Workload, LengthsAreAsAskedFor) {
    for (const Spread spread : {Spread::kFixed, Spread::kUniform, Spread::kLong}) {
        Workload workload({.users = 1, .prompt = 100, .answer = 40, .spread = spread});
        double prompts = 0, answers = 0;
        for (int i = 0; i < 2000; ++i) {
            const auto request = workload.next(0);
            EXPECT_TRUE(request.ignore_eos);
            prompts += static_cast<double>(request.prompt.size());
            answers += request.max_tokens;
            if (spread == Spread::kFixed) {
                EXPECT_EQ(request.prompt.size(), 100U);
            }
            if (spread == Spread::kUniform) {
                EXPECT_GE(request.prompt.size(), 50U);
            }
            EXPECT_LE(request.prompt.size(), 400U);
        }
        // The cut takes two hundredths off the mean of the long spread.
        EXPECT_NEAR(prompts / 2000, 100, 7);
        EXPECT_NEAR(answers / 2000, 40, 3);
    }
}

TEST(Workload, TenantsHaveAPrefixEach) {
    Workload workload({.users = 4,
                       .prompt = 200,
                       .spread = Spread::kFixed,
                       .shared_prefix = 1,
                       .prefix_tokens = 150,
                       .tenants = 2});
    const auto a = workload.next(0), b = workload.next(1), c = workload.next(2);
    EXPECT_EQ(a.tenant, c.tenant);
    EXPECT_NE(a.tenant, b.tenant);
    EXPECT_EQ(common(a.prompt, c.prompt), 150U);
    EXPECT_LT(common(a.prompt, b.prompt), 5U);
}

TEST(Workload, ConversationsGoOnUntilTheContextIsFull) {
    Workload workload({.users = 1,
                       .prompt = 100,
                       .answer = 10,
                       .spread = Spread::kFixed,
                       .shared_prefix = 0,
                       .continued = 1,
                       .context = 350});
    std::vector<TokenId> last;
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 5; ++i) {
        auto request = workload.next(0);
        sizes.push_back(request.prompt.size());
        if (i == 1) {
            EXPECT_EQ(common(last, request.prompt), last.size());
        }
        workload.answered(0, request.prompt, std::vector<TokenId>(10, 5));
        last = request.prompt;
        last.insert(last.end(), 10, 5);
    }
    EXPECT_EQ(sizes, (std::vector<std::size_t>{100, 210, 320, 100, 210}));
}

TEST(Workload, PausesAndArrivalsHaveTheirMeans) {
    Workload workload({.users = 1, .arrivals_per_second = 50, .think = 2s});
    EXPECT_LE(workload.pause(0), 2s) << "nobody waits long for the first request";
    workload.next(0);
    double pauses = 0, gaps = 0;
    for (int i = 0; i < 5000; ++i) {
        pauses += std::chrono::duration<double>(workload.pause(0)).count();
        gaps += std::chrono::duration<double>(workload.gap()).count();
    }
    EXPECT_NEAR(pauses / 5000, 2, 0.1);
    EXPECT_NEAR(gaps / 5000, 0.02, 0.001);
}

}  // namespace
}  // namespace potluck::simulate
