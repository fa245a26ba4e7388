#include "coordinator/simulate/speculative_stream.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <queue>

namespace potluck::simulate {
namespace {

using coordinator::Draft;
using coordinator::DraftShape;

/// Rows that go through the pipeline: one certain row and drafts behind it, or one drafted row.
struct Job {
    TokenId token = 0;            ///< of its first row
    std::vector<TokenId> drafts;  ///< together
    std::uint64_t generation = 0;
    std::size_t rows() const { return 1 + drafts.size(); }
};

enum class What : std::uint8_t { kArrives, kEnds, kCancels, kBack };
struct Event {
    nanoseconds at{};
    std::uint64_t order = 0;
    What what = What::kArrives;
    std::size_t stage = 0;
    std::size_t job = 0;  ///< of kCancels: the generation below which jobs are junk
    bool operator>(const Event& o) const { return at != o.at ? at > o.at : order > o.order; }
};

class Stream {
  public:
    Stream(coordinator::Speculation& speculation, const StreamTrace& trace,
           const StreamModel& model)
        : speculation_(speculation),
          trace_(trace),
          model_(model),
          stages_(model.pipeline.stages.size()),
          link_free_(model.pipeline.links.size()) {}

    StreamFigures run(const std::string& choice);

  private:
    struct Stage {
        std::deque<std::size_t> waiting;
        bool busy = false;
        std::size_t job = 0;
        nanoseconds begins{}, ends{};
        std::size_t generation = 0;
    };

    std::uint64_t keys(std::size_t rows) const { return rows * (trace_.prompt.size() + done_ + 1); }
    nanoseconds plain() const { return model_.pipeline.traversal(1, keys(1)); }
    coordinator::SpeculationCosts costs();
    std::vector<TokenId> under_way() const;
    void post(nanoseconds at, What what, std::size_t stage, std::size_t job);
    void cross(std::size_t link, std::size_t job);
    void send(TokenId token, std::vector<TokenId> drafts);
    void start(std::size_t stage);
    void handle(const Event& event);
    void back(std::size_t job);
    void take(std::size_t came, coordinator::RoundVerdict verdict);
    void go_on(bool sent);

    coordinator::Speculation& speculation_;
    const StreamTrace& trace_;
    const StreamModel& model_;
    std::vector<Stage> stages_;
    std::vector<nanoseconds> link_free_;
    std::vector<nanoseconds> together_;
    std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
    std::uint64_t order_ = 0;
    std::vector<Job> jobs_;
    std::deque<std::size_t> in_flight_;  ///< of this generation; the first one is certain
    std::size_t generation_ = 0;
    bool ahead_ = false;  ///< jobs ahead were sent since the last plain round
    std::size_t done_ = 0;
    nanoseconds now_{}, last_token_{};
    StreamFigures figures_;
};

void Stream::post(nanoseconds at, What what, std::size_t stage, std::size_t job) {
    events_.push({at, order_++, what, stage, job});
}

coordinator::SpeculationCosts Stream::costs() {
    together_.clear();
    for (std::size_t k = 0; k <= model_.longest_draft; ++k)
        together_.push_back(model_.pipeline.traversal(1 + k, keys(1 + k)));
    return {.plain = plain(),
            .slowest = model_.pipeline.bottleneck(1, keys(1)),
            .together = together_,
            .window = window_of(model_.pipeline, keys(1)),
            .users = 1};
}

std::vector<TokenId> Stream::under_way() const {
    std::vector<TokenId> tokens;
    for (std::size_t i = 1; i < in_flight_.size(); ++i)
        tokens.push_back(jobs_[in_flight_[i]].token);
    return tokens;
}

void Stream::cross(std::size_t link, std::size_t job) {
    const auto& cost = model_.pipeline.links[link];
    const std::size_t rows = jobs_[job].rows();
    nanoseconds wire{};
    if (cost.bytes_per_second > 0) {
        const double seconds =
            model_.pipeline.frame_bytes(link, rows, rows) / cost.bytes_per_second;
        wire = nanoseconds(static_cast<std::int64_t>(seconds * 1e9));
    }
    link_free_[link] = std::max(link_free_[link], now_) + wire;
    const bool last = link == stages_.size();
    post(link_free_[link] + cost.delay, last ? What::kBack : What::kArrives, last ? 0 : link, job);
}

void Stream::send(TokenId token, std::vector<TokenId> drafts) {
    in_flight_.push_back(jobs_.size());
    jobs_.push_back({token, std::move(drafts), generation_});
    cross(0, in_flight_.back());
}

void Stream::start(std::size_t stage) {
    auto& s = stages_[stage];
    while (!s.busy && !s.waiting.empty()) {
        s.job = s.waiting.front();
        s.waiting.pop_front();
        const Job& job = jobs_[s.job];
        if (model_.cancels && job.generation < s.generation) {
            cross(stage + 1, s.job);  // empty, so that the order holds
            continue;
        }
        s.busy = true;
        s.begins = now_;
        s.ends = now_ + model_.pipeline.stages[stage].time(job.rows(), keys(job.rows()));
        if (stage == 0) figures_.rows += job.rows();
        post(s.ends, What::kEnds, stage, s.job);
    }
}

void Stream::handle(const Event& event) {
    auto& s = stages_[event.stage];
    switch (event.what) {
        case What::kArrives:
            s.waiting.push_back(event.job);
            break;
        case What::kEnds:
            if (!s.busy || s.job != event.job || s.ends != now_) return;  // was cut short
            s.busy = false;
            cross(event.stage + 1, event.job);
            break;
        case What::kCancels:
            s.generation = std::max(s.generation, event.job);
            if (s.busy && model_.cancels && jobs_[s.job].generation < s.generation) {
                const auto layer = std::max(
                    (s.ends - s.begins) / static_cast<std::int64_t>(model_.layers), nanoseconds(1));
                const auto layers = (now_ - s.begins + layer - nanoseconds(1)) / layer;
                s.ends = std::min(s.ends, s.begins + layers * layer);
                post(s.ends, What::kEnds, event.stage, s.job);
            }
            break;
        case What::kBack:
            back(event.job);
            return;
    }
    start(event.stage);
}

/// `came` tokens are certain.
void Stream::take(std::size_t came, coordinator::RoundVerdict verdict) {
    came = std::min(came, trace_.answer.size() - done_);
    verdict.took = now_ - last_token_;
    verdict.plain = plain();
    verdict.position = trace_.prompt.size() + done_ - 1;
    figures_.plain += static_cast<std::int64_t>(came) * plain();
    figures_.tokens += came;
    speculation_.observe(trace_.number, std::span(trace_.answer).subspan(done_, came));
    speculation_.verdict(trace_.number, verdict);
    done_ += came;
    last_token_ = now_;
    figures_.behind = std::max(figures_.behind, now_ - figures_.plain);
}

void Stream::back(std::size_t job) {
    if (jobs_[job].generation < generation_ || done_ >= trace_.answer.size()) return;
    in_flight_.pop_front();
    const auto& drafts = jobs_[job].drafts;
    if (!ahead_) {
        std::size_t right = 0;
        while (right < drafts.size() && done_ + right < trace_.answer.size() &&
               drafts[right] == trace_.answer[done_ + right]) {
            ++right;
        }
        take(right + 1, {.drafted = static_cast<std::uint32_t>(drafts.size()),
                         .accepted = static_cast<std::uint32_t>(right),
                         .shape = DraftShape::kTogether});
        go_on(false);
        return;
    }
    const bool follows = !in_flight_.empty();
    const bool right = follows && jobs_[in_flight_.front()].token == trace_.answer[done_];
    take(1,
         {.drafted = follows ? 1U : 0U, .accepted = right ? 1U : 0U, .shape = DraftShape::kAhead});
    if (follows && !right) {
        ++generation_;
        in_flight_.clear();
        for (std::size_t i = 0; i < stages_.size(); ++i)
            post(now_ + model_.pipeline.links[0].delay, What::kCancels, i, generation_);
    } else if (!follows) {
        ahead_ = false;
    }
    go_on(right);
}

/// The next certain row, if it is not under way, and drafts.
void Stream::go_on(bool sent) {
    if (done_ >= trace_.answer.size()) return;
    const TokenId newest = trace_.answer[done_ - 1];
    Draft draft = speculation_.propose(trace_.number, under_way(), model_.longest_draft, costs());
    if (draft.shape == DraftShape::kTogether) {
        if (!sent) send(newest, std::move(draft.tokens));
        return;
    }
    if (!sent) send(newest, {});
    for (const TokenId token : draft.tokens) {
        ahead_ = true;
        send(token, {});
    }
}

StreamFigures Stream::run(const std::string& choice) {
    speculation_.begin(trace_.number, trace_.tenant, trace_.prompt, choice);
    if (!trace_.answer.empty()) {
        done_ = 1;  // it comes with the prompt, at time 0
        speculation_.observe(trace_.number, std::span(trace_.answer).first(1));
        go_on(false);
    }
    while (done_ < trace_.answer.size() && !events_.empty()) {
        const Event event = events_.top();
        events_.pop();
        now_ = event.at;
        handle(event);
    }
    figures_.took = now_;
    figures_.report = speculation_.end(trace_.number);
    return figures_;
}

double per_second(std::size_t tokens, nanoseconds time) {
    return time.count() > 0 ? static_cast<double>(tokens) * 1e9 / static_cast<double>(time.count())
                            : 0;
}

}  // namespace

double StreamFigures::gain() const {
    return took.count() > 0 ? static_cast<double>(plain.count()) / static_cast<double>(took.count())
                            : 1;
}
double StreamFigures::tokens_per_second() const {
    return per_second(tokens, took);
}
double StreamFigures::plain_per_second() const {
    return per_second(tokens, plain);
}

StreamFigures run_stream(coordinator::Speculation& speculation, const StreamTrace& trace,
                         const std::string& choice, const StreamModel& model) {
    return Stream(speculation, trace, model).run(choice);
}

double window_of(const PipelineModel& pipeline, std::uint64_t keys) {
    return static_cast<double>(pipeline.traversal(1, keys).count()) /
           static_cast<double>(pipeline.bottleneck(1, keys).count());
}

}  // namespace potluck::simulate
