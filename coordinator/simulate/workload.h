#pragma once

// Who asks what and when. Every draw is a function of the seed, the user and the number of the
// user's request, so that a faster cluster meets the same users.

#include <cstdint>
#include <vector>

#include "coordinator/core/generation.h"
#include "coordinator/simulate/pipeline_model.h"

namespace potluck::simulate {

enum class Spread : std::uint8_t {
    kFixed,    ///< always the mean
    kUniform,  ///< from half to one and a half of it
    kLong,     ///< exponential, cut at four times the mean: many short ones, a few long ones
};

struct WorkloadOptions {
    std::uint64_t seed = 1;
    std::size_t users = 64;
    /// 0: each user reads the answer, thinks and asks again. Else so many requests a second come
    /// from users drawn at random, however long the answers take.
    double arrivals_per_second = 0;
    nanoseconds think = std::chrono::seconds(2);  ///< mean, exponential
    std::size_t prompt = 512;                     ///< mean tokens, a shared prefix among them
    std::size_t answer = 128;
    Spread spread = Spread::kUniform;
    double shared_prefix = 0.5;       ///< share of requests that begin with their tenant's prefix
    std::size_t prefix_tokens = 256;  ///< of a prompt at most, always leaving one
    double continued = 0;             ///< share of requests that go on with the user's conversation
    std::size_t tenants = 1;          ///< user u belongs to tenant u modulo this
    std::size_t context = 4096;       ///< a conversation that would not fit begins anew
};

class Workload {
  public:
    explicit Workload(const WorkloadOptions& options);

    /// Closed loop: how long a user waits before asking (the first time: anything up to the mean).
    nanoseconds pause(std::size_t user);
    /// Open loop: until the next arrival, and whose it is.
    nanoseconds gap();
    std::size_t whose();
    /// What the user asks next.
    coordinator::GenerationRequest next(std::size_t user);
    /// The user has read the whole answer to `prompt`.
    void answered(std::size_t user, std::vector<TokenId> prompt,
                  const std::vector<TokenId>& answer);

  private:
    struct User {
        std::uint64_t draws = 0;
        bool asked = false;
        std::vector<TokenId> conversation;
    };
    double draw(std::size_t user);
    std::size_t length(std::size_t user, std::size_t mean);

    WorkloadOptions options_;
    std::vector<User> users_;  ///< and one more, for the arrivals
};

}  // namespace potluck::simulate
