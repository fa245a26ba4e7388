#pragma once

// Drafts for tests that are right as often as is wished, because they are made from the answer that
// will come. They check that the scheduler keeps to the order of calls (coordinator/core).

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "coordinator/core/speculation.h"

namespace potluck {

struct FakeDraftOptions {
    std::uint64_t seed = 1;
    double right = 1;         ///< of drafted tokens
    double ahead = 0;         ///< of a sequence's stretches of 8 tokens: in jobs ahead
    std::size_t job = 1;      ///< of jobs ahead: rows, at most
    std::size_t longest = 4;  ///< of one draft
    double silent = 0;        ///< of calls that propose nothing
    bool from_stage = false;  ///< the last stage proposes each token + 1
};

/// What became of it; the test keeps it.
struct FakeDraftLog {
    std::vector<std::string> problems;
    std::uint64_t begun = 0;
    std::uint64_t ended = 0;
    std::uint64_t rounds_together = 0;  ///< with drafts
    std::uint64_t rounds_ahead = 0;
    std::uint64_t long_jobs = 0;  ///< of them, with several drafted rows
    std::uint64_t drafted = 0;
    std::uint64_t accepted = 0;
    std::size_t longest_under_way = 0;
    std::vector<coordinator::RoundVerdict> verdicts;
    std::vector<TokenId> from_stage;

    void add(const FakeDraftLog& other) {
        rounds_together += other.rounds_together;
        rounds_ahead += other.rounds_ahead;
        long_jobs += other.long_jobs;
        drafted += other.drafted;
        accepted += other.accepted;
        longest_under_way = std::max(longest_under_way, other.longest_under_way);
    }
};

class FakeSpeculation final : public coordinator::Speculation {
  public:
    /// The tokens that the nth sequence that asks for `choice` will have behind its prompt.
    using Truth = std::function<std::vector<TokenId>(const std::string& choice, std::uint32_t nth)>;

    FakeSpeculation(const FakeDraftOptions& options, Truth truth, std::shared_ptr<FakeDraftLog> log)
        : options_(options), truth_(std::move(truth)), log_(std::move(log)) {}

    void begin(std::uint64_t number, TenantId, std::span<const TokenId> tokens,
               const std::string& choice) override {
        ++log_->begun;
        check(!sequences_.contains(number), "begins twice");
        check(!tokens.empty(), "begins with nothing");
        auto& sequence = sequences_[number];
        sequence.off = !knows(choice);
        if (!sequence.off) sequence.truth = truth_(choice, asked_[choice]++);
    }

    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        auto& sequence = at(number);
        if (sequence.off) return;
        for (const TokenId token : tokens) {
            sequence.last = token;
            check(sequence.made < sequence.truth.size() && sequence.truth[sequence.made] == token,
                  "another token than the true one is certain");
            ++sequence.made;
            if (!sequence.drafted.empty()) {
                if (sequence.drafted.front() == token) {
                    sequence.drafted.erase(sequence.drafted.begin());
                } else {
                    sequence.drafted.clear();
                }
            }
        }
    }

    std::size_t considers(std::uint64_t, std::size_t most) override { return most; }
    coordinator::Draft propose(std::uint64_t number, std::span<const TokenId> under_way,
                               std::size_t most,
                               const coordinator::SpeculationCosts& costs) override {
        auto& sequence = at(number);
        check(most > 0 && !sequence.off, "is asked for nothing");
        check(costs.window >= 1 && costs.slowest.count() > 0 && !costs.together.empty() &&
                  costs.users > 0,
              "costs make no sense");
        check(costs.together.size() > 1 && costs.together.size() <= most + 1,
              "costs of other lengths than could be drafted");
        // What is under way was drafted and not yet found wrong; some may have been taken back.
        check(under_way.size() <= sequence.drafted.size() &&
                  std::equal(under_way.begin(), under_way.end(), sequence.drafted.begin()),
              "what is under way was not drafted");
        log_->longest_under_way = std::max(log_->longest_under_way, under_way.size());
        sequence.drafted.resize(under_way.size());
        coordinator::Draft draft{.job = options_.job, .jobs = costs.window};
        draft.shape = uniform(options_.seed, number,
                              static_cast<std::uint32_t>(sequence.made / 8)) < options_.ahead
                          ? coordinator::DraftShape::kAhead
                          : coordinator::DraftShape::kTogether;
        if (draw() < options_.silent) return draft;
        const std::size_t n = std::min<std::size_t>(
            most, 1 + static_cast<std::size_t>(draw() * static_cast<double>(options_.longest)));
        for (std::size_t i = sequence.made + under_way.size(); draft.tokens.size() < n; ++i) {
            const bool right = draw() < options_.right && i < sequence.truth.size();
            draft.tokens.push_back(right ? sequence.truth[i] : static_cast<TokenId>(draw() * 256));
        }
        sequence.drafted.insert(sequence.drafted.end(), draft.tokens.begin(), draft.tokens.end());
        return draft;
    }

    void proposed_by_stage(std::uint64_t number, std::span<const TokenId> tokens) override {
        const auto& sequence = at(number);
        check(!options_.from_stage || sequence.off || tokens.front() == sequence.last + 1,
              "the last stage proposes behind another token");
        log_->from_stage.insert(log_->from_stage.end(), tokens.begin(), tokens.end());
    }

    void verdict(std::uint64_t number, const coordinator::RoundVerdict& round) override {
        auto& sequence = at(number);
        check(round.accepted <= round.drafted, "more accepted than drafted");
        check(round.took.count() >= 0 && round.plain.count() >= 0, "a round takes negative time");
        const bool ahead = round.shape == coordinator::DraftShape::kAhead;
        check(!ahead || round.drafted <= options_.job, "jobs are verified together");
        sequence.report.drafted += round.drafted;
        sequence.report.accepted += round.accepted;
        if (round.drafted > 0) {
            ++sequence.report.rounds;
            ++(ahead ? log_->rounds_ahead : log_->rounds_together);
            if (ahead && round.drafted > 1) ++log_->long_jobs;
        }
        log_->drafted += round.drafted;
        log_->accepted += round.accepted;
        log_->verdicts.push_back(round);
    }

    coordinator::SpeculationReport end(std::uint64_t number) override {
        auto report = at(number).report;
        report.arm = "fake";
        check(sequences_.erase(number) == 1, "ends twice");
        ++log_->ended;
        return report;
    }

    bool knows(const std::string& choice) const override { return choice.starts_with("drafts"); }

  private:
    struct Sequence {
        bool off = false;
        std::vector<TokenId> truth;
        std::size_t made = 0;          ///< certain tokens behind the prompt
        TokenId last = 0;              ///< of them
        std::vector<TokenId> drafted;  ///< behind them; at least what is under way
        coordinator::SpeculationReport report;
    };

    Sequence& at(std::uint64_t number) {
        check(sequences_.contains(number), "is spoken of before it begins or after its end");
        return sequences_[number];
    }
    void check(bool good, const char* what) {
        if (!good && log_->problems.size() < 10) log_->problems.emplace_back(what);
    }
    double draw() { return uniform(options_.seed, 0, ++draws_); }

    FakeDraftOptions options_;
    Truth truth_;
    std::shared_ptr<FakeDraftLog> log_;
    std::map<std::string, std::uint32_t> asked_;
    std::map<std::uint64_t, Sequence> sequences_;
    std::uint32_t draws_ = 0;
};

}  // namespace potluck
