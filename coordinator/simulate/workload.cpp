#include "coordinator/simulate/workload.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/portable_math.h"
#include "base/rng.h"
#include "coordinator/simulate/virtual_cluster.h"

namespace potluck::simulate {
namespace {

/// Exponential with mean 1; the argument lies in [0, 1).
double exponential(double drawn) {
    return -static_cast<double>(portable_log(1 - drawn));
}

TokenId token(std::uint64_t seed, std::uint64_t stream, std::size_t position) {
    return static_cast<TokenId>(uniform(seed, position, static_cast<std::uint32_t>(stream)) *
                                kVocabulary);
}

}  // namespace

Workload::Workload(const WorkloadOptions& options) : options_(options), users_(options.users + 1) {
    POTLUCK_CHECK(options.users > 0 && options.tenants > 0 && options.context > 1);
}

double Workload::draw(std::size_t user) {
    return uniform(options_.seed, users_[user].draws++, static_cast<std::uint32_t>(user));
}

std::size_t Workload::length(std::size_t user, std::size_t mean) {
    const auto m = static_cast<double>(mean);
    double drawn = m;
    if (options_.spread == Spread::kUniform) drawn = m * (0.5 + draw(user));
    if (options_.spread == Spread::kLong) drawn = m * std::min(exponential(draw(user)), 4.0);
    return std::max<std::size_t>(1, static_cast<std::size_t>(drawn + 0.5));
}

nanoseconds Workload::pause(std::size_t user) {
    const double drawn = draw(user);
    const double factor = users_[user].asked ? exponential(drawn) : drawn;
    return nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(options_.think.count()) * factor));
}

nanoseconds Workload::gap() {
    const double seconds = exponential(draw(options_.users)) / options_.arrivals_per_second;
    return nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
}

std::size_t Workload::whose() {
    return static_cast<std::size_t>(draw(options_.users) * static_cast<double>(options_.users));
}

coordinator::GenerationRequest Workload::next(std::size_t user) {
    User& u = users_[user];
    u.asked = true;
    const std::size_t tenant = user % options_.tenants;
    coordinator::GenerationRequest request;
    request.tenant = TenantId(static_cast<std::uint32_t>(tenant + 1));
    request.ignore_eos = true;
    const std::size_t answer = std::min(length(user, options_.answer), options_.context - 1);
    request.max_tokens = static_cast<std::uint32_t>(answer);
    const std::size_t wanted = std::min(length(user, options_.prompt), options_.context - answer);
    const bool goes_on = draw(user) < options_.continued && !u.conversation.empty() &&
                         u.conversation.size() + wanted + answer <= options_.context;
    const bool shares = draw(user) < options_.shared_prefix;
    std::size_t own = wanted;
    if (goes_on) {
        request.prompt = std::move(u.conversation);
    } else if (shares) {
        const std::size_t common = std::min(options_.prefix_tokens, wanted - 1);
        for (std::size_t i = 0; i < common; ++i)
            request.prompt.push_back(token(options_.seed, 0x10000 + tenant, i));
        own -= common;
    }
    u.conversation.clear();
    for (; own > 0; --own)
        request.prompt.push_back(static_cast<TokenId>(draw(user) * kVocabulary));
    return request;
}

void Workload::answered(std::size_t user, std::vector<TokenId> prompt,
                        const std::vector<TokenId>& answer) {
    prompt.insert(prompt.end(), answer.begin(), answer.end());
    users_[user].conversation = std::move(prompt);
}

}  // namespace potluck::simulate
