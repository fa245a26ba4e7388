#include "coordinator/speculate/timed_speculation.h"

#include <unordered_map>
#include <utility>

namespace potluck::coordinator {
namespace {

class TimedSpeculation final : public Speculation {
  public:
    TimedSpeculation(std::unique_ptr<Speculation> inner, std::function<nanoseconds()> clock)
        : inner_(std::move(inner)), clock_(std::move(clock)) {}

    void begin(std::uint64_t number, TenantId tenant, std::span<const TokenId> tokens,
               const std::string& choice) override {
        const Timer timer(*this, spent_[number]);
        inner_->begin(number, tenant, tokens, choice);
    }
    void observe(std::uint64_t number, std::span<const TokenId> tokens) override {
        const Timer timer(*this, spent_[number]);
        inner_->observe(number, tokens);
    }
    std::size_t considers(std::uint64_t number, std::size_t most) override {
        const Timer timer(*this, spent_[number]);
        return inner_->considers(number, most);
    }
    Draft propose(std::uint64_t number, std::span<const TokenId> under_way, std::size_t most,
                  const SpeculationCosts& costs) override {
        const Timer timer(*this, spent_[number]);
        return inner_->propose(number, under_way, most, costs);
    }
    void proposed_by_stage(std::uint64_t number, std::span<const TokenId> tokens) override {
        inner_->proposed_by_stage(number, tokens);
    }
    void verdict(std::uint64_t number, const RoundVerdict& round) override {
        const Timer timer(*this, spent_[number]);
        inner_->verdict(number, round);
    }
    SpeculationReport end(std::uint64_t number) override {
        SpeculationReport report;
        {
            const Timer timer(*this, spent_[number]);
            report = inner_->end(number);
        }
        report.draft += spent_[number];
        spent_.erase(number);
        return report;
    }
    bool knows(const std::string& choice) const override { return inner_->knows(choice); }

  private:
    class Timer {
      public:
        Timer(const TimedSpeculation& owner, nanoseconds& sum)
            : owner_(owner), sum_(sum), start_(owner.clock_()) {}
        ~Timer() { sum_ += owner_.clock_() - start_; }
        Timer(const Timer&) = delete;
        Timer& operator=(const Timer&) = delete;

      private:
        const TimedSpeculation& owner_;
        nanoseconds& sum_;
        nanoseconds start_;
    };

    std::unique_ptr<Speculation> inner_;
    std::function<nanoseconds()> clock_;
    std::unordered_map<std::uint64_t, nanoseconds> spent_;
};

}  // namespace

std::unique_ptr<Speculation> time_speculation(std::unique_ptr<Speculation> inner,
                                              std::function<nanoseconds()> clock) {
    return std::make_unique<TimedSpeculation>(std::move(inner), std::move(clock));
}

}  // namespace potluck::coordinator
