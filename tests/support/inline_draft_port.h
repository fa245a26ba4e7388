#pragma once

// A draft engine without its thread: it works when it is asked, so that tests are the same every
// time.

#include <deque>
#include <memory>
#include <utility>

#include "coordinator/draft_model/draft_engine.h"
#include "coordinator/speculate/draft_port.h"

namespace potluck {

class InlineDraftPort final : public coordinator::DraftPort {
  public:
    /// `steps`: at most so many for each request, as if it were slow; 0: until nothing is left.
    explicit InlineDraftPort(std::unique_ptr<coordinator::DraftEngine> engine,
                             std::size_t steps = 0)
        : engine_(std::move(engine)), steps_(steps) {}

    bool post(const coordinator::DraftRequest& request) override {
        engine_->take(request);
        work();
        return true;
    }
    std::optional<coordinator::DraftReply> poll() override {
        if (replies_.empty()) return std::nullopt;
        auto reply = replies_.front();
        replies_.pop_front();
        return reply;
    }
    coordinator::DraftEngine& engine() { return *engine_; }

  private:
    void work() {
        const auto send = [this](const coordinator::DraftReply& reply) {
            replies_.push_back(reply);
            return true;
        };
        for (std::size_t i = 0; steps_ == 0 || i < steps_; ++i) {
            const auto worked = engine_->step(send);
            if (!worked || !*worked) return;
        }
    }

    std::unique_ptr<coordinator::DraftEngine> engine_;
    std::size_t steps_;
    std::deque<coordinator::DraftReply> replies_;
};

}  // namespace potluck
