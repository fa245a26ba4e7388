#include "tests/unit/coordinator/support.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "model/gguf/gguf.h"
#include "tests/support/tiny_model.h"

namespace potluck::coordinator {

std::shared_ptr<const model::Tokenizer> bundled_tokenizer() {
    static const auto tokenizer = test::must(model::Tokenizer::load(
        *test::must(model::gguf::Gguf::open(POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf"))));
    return tokenizer;
}

TokenId token_of(std::string_view bytes) {
    const auto tokenizer = bundled_tokenizer();
    for (TokenId id = 0; id < static_cast<TokenId>(tokenizer->vocabulary_size()); ++id) {
        if (tokenizer->piece(id) == bytes) return id;
    }
    std::fprintf(stderr, "no token is \"%s\"\n", std::string(bytes).c_str());
    std::abort();
}

Pipeline::Pipeline(const PipelineLimits& limits_, const SchedulerOptions& options,
                   std::unique_ptr<Speculation> speculation)
    : limits(limits_),
      scheduler(options, bundled_tokenizer(), std::move(speculation)),
      stage(limits_.kv_pages, limits_.page_tokens, limits_.context),
      first(stage),
      next_token([letter = token_of("x")](const Row&) { return letter; }) {
    SchedulerActions actions;
    scheduler.start(limits, actions);
    EXPECT_TRUE(actions.empty());
}

Status Pipeline::submit(std::uint64_t id, GenerationRequest request) {
    SchedulerActions actions;
    const Status taken = scheduler.submit(RequestId(id), std::move(request), actions);
    if (taken) told[id];
    act(actions);
    return taken;
}

void Pipeline::cancel(std::uint64_t id) {
    SchedulerActions actions;
    scheduler.cancel(RequestId(id), actions);
    if (told.contains(id)) ++told[id].endings;
    act(actions);
}

void Pipeline::stop(const Error& reason) {
    SchedulerActions actions;
    scheduler.stop(reason, actions);
    act(actions);
}

void Pipeline::lose(std::chrono::nanoseconds now) {
    scheduler.set_time(now);
    scheduler.suspend();
    in_flight.clear();
}

void Pipeline::give_up_after(std::chrono::nanoseconds now) {
    SchedulerActions actions;
    scheduler.set_time(now);
    scheduler.give_up_if_late("loading 3 %", actions);
    act(actions);
}

void Pipeline::restart(const PipelineLimits& new_limits) {
    limits = new_limits;
    const auto before = std::exchange(
        stage, engine::PageTable(limits.kv_pages, limits.page_tokens, limits.context));
    first = stage;
    if (limits.kept != KeptPages::kNone) {
        const auto kept = stage.keep(before, scheduler.kept());
        EXPECT_TRUE(kept) << kept.error().message;
    }
    if (limits.kept == KeptPages::kAll) first = stage;
    sent.clear();
    operations.clear();
    SchedulerActions actions;
    scheduler.start(limits, actions);
    act(actions);
}

void Pipeline::act(SchedulerActions& actions) {
    const auto open = [&](RequestId id) -> Told& {
        Told& log = told[id.value];
        EXPECT_EQ(log.endings, 0) << "request " << id.value << " is spoken of after its end";
        return log;
    };
    for (auto& action : actions) {
        if (auto* batch = std::get_if<SendBatch>(&action)) {
            EXPECT_LE(batch->batch.rows.size(), limits.max_batch_rows);
            EXPECT_EQ(batch->batch.id.value, sent.size() + 1);
            sent.push_back(batch->batch);
            in_flight.push_back(std::move(batch->batch));
        } else if (auto* cancelled = std::get_if<SendCancel>(&action)) {
            cancels.push_back(*cancelled);
        } else if (auto* delta = std::get_if<EmitDelta>(&action)) {
            auto& choice = open(delta->request).choices[delta->delta.choice];
            EXPECT_FALSE(choice.finished);
            choice.text += delta->delta.text;
            for (auto& token : delta->delta.tokens)
                choice.tokens.push_back(std::move(token));
        } else if (auto* finish = std::get_if<EmitFinish>(&action)) {
            auto& choice = open(finish->request).choices[finish->choice];
            EXPECT_FALSE(choice.finished);
            choice.finished = finish->reason;
        } else if (auto* done = std::get_if<EmitDone>(&action)) {
            Told& log = open(done->request);
            ++log.endings;
            log.usage = done->usage;
        } else if (auto* failed = std::get_if<EmitError>(&action)) {
            Told& log = open(failed->request);
            ++log.endings;
            log.error = failed->error;
        }
    }
    EXPECT_LE(scheduler.in_flight(), limits.max_in_flight);
    EXPECT_LE(scheduler.active_sequences(), limits.slots);
}

StepResult Pipeline::execute() {
    const Batch batch = std::move(in_flight.front());
    in_flight.pop_front();
    for (const auto& operation : batch.operations) {
        ++operations[operation.kind][operation.seq];
        const auto applied = stage.apply(operation);
        EXPECT_TRUE(applied) << applied.error().message;
        EXPECT_TRUE(first.apply(operation));
    }
    StepResult result{.batch = batch.id};
    std::vector<engine::PageCopy> copies;
    for (const auto& row : batch.rows) {
        const auto place = stage.append(row.seq, row.position, copies);
        EXPECT_TRUE(place) << place.error().message;
        const auto also = first.append(row.seq, row.position, copies);
        EXPECT_TRUE(also) << also.error().message;
        if ((row.flags & kRowSample) == 0) continue;
        const auto junk = [&](const SendCancel& c) {
            return c.seq == row.seq && row.generation < c.generation;
        };
        if (skips_junk && std::any_of(cancels.begin(), cancels.end(), junk)) continue;
        result.rows.push_back({.seq = row.seq, .position = row.position, .token = next_token(row)});
    }
    return result;
}

Status Pipeline::give(const StepResult& result) {
    SchedulerActions actions;
    Status taken = scheduler.on_result(result, actions);
    act(actions);
    return taken;
}

bool Pipeline::answer() {
    if (in_flight.empty()) return false;
    const Status taken = give(execute());
    EXPECT_TRUE(taken) << taken.error().message;
    return true;
}

void Pipeline::drain() {
    for (int i = 0; i < 100'000; ++i) {
        if (!answer()) return;
    }
    ADD_FAILURE() << "it never comes to rest";
}

void Pipeline::expect_idle() {
    EXPECT_EQ(scheduler.in_flight(), 0U);
    EXPECT_EQ(scheduler.waiting(), 0U);
    EXPECT_EQ(scheduler.active_sequences(), 0U);
    const std::size_t kept = scheduler.kept_sequences();
    EXPECT_EQ(scheduler.pages()->free_pages() + scheduler.kept_pages(), limits.kv_pages);
    EXPECT_EQ(scheduler.pages()->sequence_count(), kept);
    // Stages share pages that the scheduler counts twice, if they kept them.
    if (limits.kept == KeptPages::kNone) {
        EXPECT_EQ(stage.free_pages(), scheduler.pages()->free_pages());
    }
    EXPECT_GE(stage.free_pages(), scheduler.pages()->free_pages());
    EXPECT_GE(first.free_pages(), scheduler.pages()->free_pages());
    EXPECT_EQ(stage.sequence_count(), kept);
    std::size_t open = 0;
    for (const auto& [seq, times] : operations[OperationKind::kOpen]) {
        EXPECT_EQ(times, 1) << "opens of sequence " << seq.value;
        const auto released = operations[OperationKind::kRelease][seq];
        EXPECT_LE(released, 1) << "releases of sequence " << seq.value;
        EXPECT_EQ(stage.contains(seq), released == 0) << "sequence " << seq.value;
        if (released == 0) ++open;
    }
    EXPECT_EQ(open, kept);
    for (const auto& [id, log] : told)
        EXPECT_EQ(log.endings, 1) << "endings of request " << id;
}

}  // namespace potluck::coordinator
