#include "engine/page_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace potluck::engine {
namespace {

tl::unexpected<Error> bad(SeqId seq, std::string_view what) {
    return error(ErrorCode::kCorrupt, fmt::format("sequence {}: {}", seq.value, what));
}

}  // namespace

PageTable::PageTable(std::size_t pages, std::size_t page_tokens, std::size_t max_length)
    : page_tokens_(page_tokens), max_length_(max_length), references_(pages, 0) {
    POTLUCK_CHECK(page_tokens > 0);
    free_.reserve(pages);
    for (std::size_t i = pages; i > 0; --i)
        free_.push_back(static_cast<PageIndex>(i - 1));
}

std::uint32_t PageTable::length(SeqId seq) const {
    const auto found = sequences_.find(seq);
    return found == sequences_.end() ? 0 : found->second.length;
}

std::uint32_t PageTable::kept(SeqId seq) const {
    const auto found = sequences_.find(seq);
    return found == sequences_.end() ? 0 : found->second.kept;
}

std::span<const PageIndex> PageTable::pages(SeqId seq) const {
    const auto found = sequences_.find(seq);
    if (found == sequences_.end()) return {};
    return found->second.pages;
}

PageIndex PageTable::take() {
    const PageIndex page = free_.back();
    free_.pop_back();
    references_[static_cast<std::size_t>(page)] = 1;
    return page;
}

void PageTable::drop(PageIndex page) {
    auto& references = references_[static_cast<std::size_t>(page)];
    POTLUCK_CHECK(references > 0);
    if (--references == 0) free_.push_back(page);
}

void PageTable::shorten(Sequence& sequence, std::uint32_t length) {
    const std::size_t keep = pages_for(length);
    while (sequence.pages.size() > keep) {
        drop(sequence.pages.back());
        sequence.pages.pop_back();
    }
    sequence.length = length;
    sequence.kept = std::min(sequence.kept, length);
    std::erase_if(sequence.checkpoints, [&](const auto& c) { return c.second > length; });
}

PageTable::Sequence PageTable::new_sequence() const {
    Sequence sequence;
    // Room for the longest sequence now, so that appending never allocates.
    sequence.pages.reserve(pages_for(max_length_));
    return sequence;
}

Status PageTable::open(const Operation& operation) {
    if (sequences_.contains(operation.seq)) return bad(operation.seq, "is opened twice");
    const auto found = waiting_.find(operation.seq);
    if (found == waiting_.end()) {
        sequences_.emplace(operation.seq, new_sequence());
        return {};
    }
    Sequence& sequence = found->second;
    if (operation.tokens.size() > sequence.kept) {
        return bad(operation.seq, fmt::format("begins with {} positions, {} were kept",
                                              operation.tokens.size(), sequence.kept));
    }
    sequence.length = static_cast<std::uint32_t>(operation.tokens.size());
    sequences_.emplace(operation.seq, std::move(sequence));
    waiting_.erase(found);
    return {};
}

Status PageTable::keep(const PageTable& before, std::span<const KeptSequence> sequences) {
    POTLUCK_CHECK(sequences_.empty() && waiting_.empty());
    if (before.page_count() != page_count() || before.page_tokens_ != page_tokens_ ||
        before.max_length_ != max_length_) {
        return error(ErrorCode::kCorrupt,
                     fmt::format("{} pages of {} tokens, {} for a sequence, cannot be taken over: "
                                 "there were {} of {}, and {}",
                                 page_count(), page_tokens_, max_length_, before.page_count(),
                                 before.page_tokens_, before.max_length_));
    }
    if (sequences.size() > page_count()) {
        return error(ErrorCode::kCorrupt, fmt::format("{} sequences are to be kept in {} pages",
                                                      sequences.size(), page_count()));
    }
    for (const auto& kept : sequences) {
        if (kept.positions == 0) return bad(kept.seq, "is to be kept without positions");
        if (before.length(kept.seq) < kept.positions) {
            return bad(kept.seq, fmt::format("has {} positions, {} are to be kept",
                                             before.length(kept.seq), kept.positions));
        }
    }
    for (const auto& kept : sequences) {
        Sequence sequence = new_sequence();
        const auto pages = before.pages(kept.seq).first(pages_for(kept.positions));
        sequence.pages.assign(pages.begin(), pages.end());
        sequence.kept = kept.positions;
        // A sequence that is named twice is held once.
        if (!waiting_.emplace(kept.seq, std::move(sequence)).second) continue;
        for (const PageIndex page : pages)
            ++references_[static_cast<std::size_t>(page)];
    }
    std::erase_if(free_, [&](PageIndex page) { return references(page) > 0; });
    return {};
}

Status PageTable::reserve(const KeptSequence& kept) {
    POTLUCK_CHECK(!sequences_.contains(kept.seq) && !waiting_.contains(kept.seq));
    if (pages_for(kept.positions) > free_.size()) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("no KV pages are free for {} positions of sequence {}",
                                 kept.positions, kept.seq.value));
    }
    Sequence sequence = new_sequence();
    for (std::size_t n = pages_for(kept.positions); n > 0; --n)
        sequence.pages.push_back(take());
    sequence.kept = kept.positions;
    waiting_.emplace(kept.seq, std::move(sequence));
    return {};
}

Status PageTable::fork(const Operation& operation) {
    const auto to = sequences_.find(operation.seq);
    if (to == sequences_.end() || !to->second.pages.empty()) {
        return bad(operation.seq, "is the target of a fork but not open and empty");
    }
    const auto from = sequences_.find(operation.source);
    if (from == sequences_.end()) return bad(operation.source, "is forked but not open");
    if (operation.length > from->second.length) {
        return bad(operation.source, fmt::format("is forked at {} but has {} positions",
                                                 operation.length, from->second.length));
    }
    const std::size_t shared = pages_for(operation.length);
    for (std::size_t i = 0; i < shared; ++i) {
        const PageIndex page = from->second.pages[i];
        ++references_[static_cast<std::size_t>(page)];
        to->second.pages.push_back(page);
    }
    to->second.length = operation.length;
    return {};
}

Status PageTable::restore(Sequence& sequence, const Operation& operation) {
    const auto found = std::find_if(sequence.checkpoints.begin(), sequence.checkpoints.end(),
                                    [&](const auto& c) { return c.first == operation.checkpoint; });
    if (found == sequence.checkpoints.end()) {
        return bad(operation.seq, fmt::format("has no checkpoint {}", operation.checkpoint));
    }
    shorten(sequence, found->second);
    sequence.committed = std::min(sequence.committed, sequence.length);
    return {};
}

Status PageTable::apply(const Operation& operation) {
    if (operation.kind == OperationKind::kOpen) return open(operation);
    if (operation.kind == OperationKind::kFork) return fork(operation);
    const auto found = sequences_.find(operation.seq);
    if (found == sequences_.end()) return bad(operation.seq, "is not open");
    Sequence& sequence = found->second;
    switch (operation.kind) {
        case OperationKind::kTruncate:
            if (operation.length > sequence.length || operation.length < sequence.committed) {
                return bad(operation.seq,
                           fmt::format("cannot be cut to {}: it has {} positions, {} committed",
                                       operation.length, sequence.length, sequence.committed));
            }
            shorten(sequence, operation.length);
            return {};
        case OperationKind::kCommit:
            if (operation.length > sequence.length) {
                return bad(operation.seq, fmt::format("cannot commit {} of {} positions",
                                                      operation.length, sequence.length));
            }
            sequence.committed = std::max(sequence.committed, operation.length);
            return {};
        case OperationKind::kCheckpoint:
            std::erase_if(sequence.checkpoints,
                          [&](const auto& c) { return c.first == operation.checkpoint; });
            sequence.checkpoints.emplace_back(operation.checkpoint, sequence.length);
            return {};
        case OperationKind::kRestore:
            return restore(sequence, operation);
        case OperationKind::kRelease:
            shorten(sequence, 0);
            sequences_.erase(found);
            return {};
        default:
            return bad(operation.seq, "gets an operation of an unknown kind");
    }
}

std::size_t PageTable::pages_needed(SeqId seq, std::size_t n) const {
    const auto found = sequences_.find(seq);
    if (found == sequences_.end() || n == 0) return pages_for(n);
    const Sequence& sequence = found->second;
    const std::size_t after = sequence.length + n;
    // Kept positions have their pages, and are written where they are.
    const std::size_t from = std::max(sequence.length, sequence.kept);
    if (after <= from) return 0;
    std::size_t needed = pages_for(after) - sequence.pages.size();
    const bool partial = from % page_tokens_ != 0;
    if (partial && references_[static_cast<std::size_t>(sequence.pages.back())] > 1) ++needed;
    return needed;
}

Result<std::int32_t> PageTable::append(SeqId seq, std::uint32_t position,
                                       std::vector<PageCopy>& copies) {
    const auto found = sequences_.find(seq);
    if (found == sequences_.end()) return bad(seq, "gets a row but is not open");
    Sequence& sequence = found->second;
    if (position != sequence.length) {
        return bad(
            seq,
            fmt::format("gets a row at position {} but has {} positions: the link is out of step",
                        position, sequence.length));
    }
    if (sequence.length >= max_length_) {
        return bad(seq, fmt::format("would grow beyond {} positions", max_length_));
    }
    const std::size_t offset = position % page_tokens_;
    if (position < sequence.kept) {
        // Whoever shares the page has the same tokens there: what is written is what is there.
        ++sequence.length;
        return static_cast<std::int32_t>(
            static_cast<std::size_t>(sequence.pages[position / page_tokens_]) * page_tokens_ +
            offset);
    }
    const bool shared =
        offset != 0 && references_[static_cast<std::size_t>(sequence.pages.back())] > 1;
    if ((offset == 0 || shared) && free_.empty()) {
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("no KV page is free for sequence {} (all {} are in use)",
                                 seq.value, references_.size()));
    }
    if (offset == 0) {
        sequence.pages.push_back(take());
    } else if (shared) {
        const PageIndex from = sequence.pages.back();
        sequence.pages.back() = take();
        drop(from);
        copies.push_back({from, sequence.pages.back()});
    }
    ++sequence.length;
    return static_cast<std::int32_t>(
        static_cast<std::size_t>(sequence.pages.back()) * page_tokens_ + offset);
}

}  // namespace potluck::engine
