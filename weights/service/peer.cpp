#include "weights/service/peer.h"

#include <fmt/format.h>

#include <algorithm>

namespace potluck::weights {

std::uint32_t Peer::outstanding() const {
    std::uint32_t answers = 0;
    for (const auto& [id, task] : asked_)
        answers += std::max<std::uint32_t>(task.count, 1);
    return answers;
}

void Peer::tick(transport::Transport& transport) {
    const auto now = Clock::now();
    if (connected() && !asked_.empty() && now - last_heard_ > kPatience) {
        const auto connection = connection_;
        lost({ErrorCode::kTimedOut, links::to_string(to_.node) + " says nothing"});
        connection->close();
    }
    if (connected() || dialling_ || given_up() || now < not_before_) return;
    dialling_ = true;
    transport::Limits limits;
    limits.max_head_bytes = proto::kMaxControlBytes + proto::kControlPrefixBytes;
    limits.max_payload_bytes = kChunkBytes;
    links::dial_and_greet(transport, to_, limits, kDialTimeout,
                          links::make_hello(proto::Hello::WEIGHTS, node_name_),
                          [self = weak_from_this()](auto greeted) {
                              if (const auto here = self.lock())
                                  here->on_dialled(std::move(greeted));
                          });
}

void Peer::on_dialled(Result<links::Greeted> greeted) {
    dialling_ = false;
    if (!greeted) return lost(greeted.error());
    connection_ = std::move(greeted->connection);
    last_heard_ = Clock::now();
    connection_->start(shared_from_this());
}

void Peer::lost(const Error& reason) {
    connection_.reset();
    coming_ = 0;
    last_problem_ = reason.message;
    if (reason.code == ErrorCode::kCorrupt) {
        wrong_ = true;
        log::warning("weights: {} is not asked any more: {}", links::to_string(to_.node),
                     reason.message);
    }
    ++redials_;
    not_before_ = Clock::now() + kRedialAfter;
    for (const auto& [id, task] : std::exchange(asked_, {}))
        if (task.object != Task::kStale) events_.on_returned(task);
}

void Peer::on_closed(const Error& reason) {
    if (connected()) lost(reason);
}

void Peer::close() {
    if (const auto connection = std::exchange(connection_, nullptr)) connection->close();
}

void Peer::ask(const Task& task, const Digest& address) {
    if (asked_.empty()) last_heard_ = Clock::now();
    Request request{.id = next_id_++};
    if (task.object == Task::kManifest) {
        request.wanted = ManifestRequest{address};
    } else if (task.count == 0) {
        request.wanted = LeavesRequest{address};
    } else {
        request.wanted = RunRequest{address, task.first, task.count};
    }
    asked_.emplace(request.id, task);
    if (auto sent = connection_->send(proto::encode_control(to_message(request)), {}, {}); !sent) {
        const auto connection = connection_;
        lost(sent.error());
        connection->close();
    }
}

/// Null: what is no longer asked for.
Result<Task*> Peer::find(std::uint64_t id) {
    if (id == 0 || id >= next_id_)
        return error(ErrorCode::kCorrupt, fmt::format("weights: answer {} was not asked for", id));
    const auto found = asked_.find(id);
    return found == asked_.end() ? nullptr : &found->second;
}

Result<std::span<std::byte>> Peer::on_head(std::span<const std::byte> head,
                                           std::size_t payload_bytes) {
    POTLUCK_ASSIGN(const auto message, proto::decode_control(head));
    if (!message.has_weights_answer())
        return error(ErrorCode::kCorrupt, "weights: a payload that is no answer");
    const auto& answer = message.weights_answer();
    POTLUCK_ASSIGN(const Task* task, find(answer.id()));
    coming_ = answer.id();
    const auto space = buffer_.bytes().first(payload_bytes);  // the connection's limit is as large
    if (task == nullptr || task->object == Task::kStale) return space;
    if (task->count == 0 || answer.chunk() != task->first ||
        payload_bytes != events_.chunk_bytes(*task, answer.chunk()))
        return error(ErrorCode::kCorrupt, fmt::format("weights: {} bytes came as chunk {}",
                                                      payload_bytes, answer.chunk()));
    return space;
}

Status Peer::on_frame(std::span<const std::byte> head, std::span<std::byte> payload) {
    last_heard_ = Clock::now();
    // Our own end may have given up on a connection that is still delivering.
    if (!connected()) return error(ErrorCode::kCancelled, "not wanted any more");
    if (!payload.empty()) return on_chunk(payload);
    POTLUCK_ASSIGN(const auto message, proto::decode_control(head));
    if (!message.has_weights_answer())
        return error(ErrorCode::kCorrupt, "weights: a message that is no answer");
    return on_answer(message.weights_answer());
}

Status Peer::on_chunk(std::span<const std::byte> chunk) {
    POTLUCK_ASSIGN(Task * task, find(std::exchange(coming_, 0)));
    if (task == nullptr) return {};
    if (task->object != Task::kStale) {
        POTLUCK_TRY(events_.on_chunk(*task, chunk));
        bytes_ += chunk.size();
    }
    redials_ = 0;
    ++task->first;
    if (task->count <= 1)
        std::erase_if(asked_, [&](const auto& entry) { return &entry.second == task; });
    else
        --task->count;
    return {};
}

Status Peer::on_answer(const proto::WeightsAnswer& answer) {
    POTLUCK_ASSIGN(Task * task, find(answer.id()));
    if (task == nullptr) return {};
    if (!answer.error().empty()) {
        const Task left = *task;
        asked_.erase(answer.id());
        if (left.object == Task::kStale) return {};
        lacking_.insert(left.object);
        last_problem_ = answer.error();
        events_.on_returned(left);
        return {};
    }
    if (task->object == Task::kStale) {
        if (answer.total_bytes() == 0) asked_.erase(answer.id());
        return {};
    }
    if (task->count != 0) return error(ErrorCode::kCorrupt, "weights: a chunk without bytes");
    POTLUCK_ASSIGN(const bool done, events_.on_answer(*task, answer));
    redials_ = 0;
    if (done) asked_.erase(answer.id());
    return {};
}

}  // namespace potluck::weights
