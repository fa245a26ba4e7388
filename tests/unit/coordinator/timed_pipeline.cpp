#include "tests/unit/coordinator/timed_pipeline.h"

#include <algorithm>

#include "engine/step_time.h"

namespace potluck::coordinator {

nanoseconds run_through(const std::vector<StageCost>& stages, const Load& load, nanoseconds now,
                        std::vector<nanoseconds>& free_at) {
    for (std::size_t s = 0; s < stages.size(); ++s) {
        const auto begins = std::max(now, free_at[s]);
        free_at[s] = begins + stages[s].curve.time(load.rows, load.keys);
        now = free_at[s] + stages[s].hop;
    }
    return now;
}

double constant_throughput(const std::vector<StageCost>& stages, std::size_t users,
                           std::size_t batches) {
    constexpr int kRounds = 60;
    constexpr int kSettled = 20;
    std::vector<nanoseconds> free_at(stages.size());
    std::vector<nanoseconds> back(batches);
    nanoseconds settled{};
    for (int round = 0; round < kRounds; ++round) {
        for (std::size_t batch = 0; batch < batches; ++batch) {
            const std::size_t size = users / batches + (batch < users % batches ? 1 : 0);
            back[batch] = run_through(stages, {size, 0}, back[batch], free_at);
        }
        if (round + 1 == kSettled) settled = back.front();
    }
    const auto time = static_cast<double>((back.front() - settled).count());
    return static_cast<double>(users) * (kRounds - kSettled) * 1e9 / time;
}

nanoseconds TimedPipeline::Client::longest_gap() const {
    nanoseconds longest{};
    for (std::size_t i = 1; i < tokens.size(); ++i)
        longest = std::max(longest, tokens[i] - tokens[i - 1]);
    return longest;
}

TimedPipeline::TimedPipeline(const std::vector<StageCost>& stages, PipelineLimits limits,
                             const SchedulerOptions& options,
                             std::unique_ptr<Speculation> speculation)
    : scheduler(options, bundled_tokenizer(), std::move(speculation)),
      stages_(stages),
      free_at_(stages.size()),
      letter_(token_of("x")) {
    limits.stages = stages.size();
    SchedulerActions actions;
    scheduler.start(limits, actions);
}

void TimedPipeline::submit_at(nanoseconds time, std::uint64_t id, GenerationRequest request) {
    arrivals_.emplace(time, std::pair(id, std::move(request)));
}

void TimedPipeline::act(SchedulerActions& actions) {
    for (auto& action : actions) {
        if (auto* send = std::get_if<SendBatch>(&action)) {
            const Load load{send->batch.rows.size(), engine::keys_of(send->batch)};
            rows += load.rows;
            const auto back = run_through(stages_, load, now, free_at_);
            sent_.push_back({back, std::move(send->batch)});
            if (!teaches) continue;
            for (std::size_t s = 0; s < stages_.size(); ++s) {
                scheduler.observe(StageIndex(static_cast<std::uint32_t>(s)),
                                  {static_cast<std::uint32_t>(load.rows), load.keys,
                                   stages_[s].curve.time(load.rows, load.keys)});
            }
        } else if (const auto* delta = std::get_if<EmitDelta>(&action)) {
            auto& client = clients[delta->request.value];
            for (std::size_t i = 0; i < delta->delta.tokens.size(); ++i)
                client.tokens.push_back(now);
            tokens += delta->delta.tokens.size();
        } else if (const auto* done = std::get_if<EmitDone>(&action)) {
            clients[done->request.value].done = true;
        } else if (const auto* failed = std::get_if<EmitError>(&action)) {
            ADD_FAILURE() << failed->error.message;
        }
    }
}

void TimedPipeline::answer() {
    const Sent sent = std::move(sent_.front());
    sent_.pop_front();
    StepResult result{.batch = sent.batch.id};
    for (const auto& row : sent.batch.rows) {
        if ((row.flags & kRowSample) == 0) continue;
        result.rows.push_back({.seq = row.seq, .position = row.position, .token = letter_});
    }
    SchedulerActions actions;
    scheduler.set_time(now);
    const auto taken = scheduler.on_result(result, actions);
    ASSERT_TRUE(taken) << taken.error().message;
    act(actions);
}

void TimedPipeline::run_until(nanoseconds time) {
    while (!sent_.empty() || !arrivals_.empty()) {
        const bool arrives =
            !arrivals_.empty() && (sent_.empty() || arrivals_.begin()->first < sent_.front().back);
        const auto next = arrives ? arrivals_.begin()->first : sent_.front().back;
        if (next > time) return;
        now = std::max(now, next);
        if (!arrives) {
            answer();
            continue;
        }
        auto [id, request] = std::move(arrivals_.begin()->second);
        arrivals_.erase(arrivals_.begin());
        clients[id].submitted = now;
        SchedulerActions actions;
        scheduler.set_time(now);
        const auto taken = scheduler.submit(RequestId(id), std::move(request), actions);
        EXPECT_TRUE(taken) << taken.error().message;
        act(actions);
    }
}

}  // namespace potluck::coordinator
