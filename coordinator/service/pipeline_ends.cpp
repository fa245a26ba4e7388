#include "coordinator/service/pipeline_ends.h"

#include <chrono>
#include <string>
#include <utility>

#include "coordinator/service/result_receiver.h"
#include "proto/frame.h"

namespace potluck::coordinator {
namespace {

constexpr std::chrono::milliseconds kDialTimeout{5000};

Error lost(const std::string& which, const Error& reason) {
    return {ErrorCode::kPeerLost, "the link " + which + " stage is lost: " + reason.message};
}

}  // namespace

PipelineEnds::PipelineEnds(transport::Transport& transport, proto::WireVersions wire, Events events)
    : transport_(transport), wire_(wire), events_(std::move(events)) {}

PipelineEnds::~PipelineEnds() {
    close();
}

void PipelineEnds::close() {
    alive_.reset();
    for (links::Greeted* end : {&to_first_, &from_last_})
        if (const auto link = std::exchange(end->connection, nullptr)) link->close();
}

void PipelineEnds::open(Epoch epoch, const links::Destination& first) {
    close();
    epoch_ = epoch;
    alive_ = std::make_shared<int>(0);
    proto::Hello hello = links::make_hello(proto::Hello::DATA, "coordinator");
    hello.set_epoch(epoch.value);
    hello.set_stage(0);
    transport::Limits limits;
    limits.max_head_bytes = proto::kMaxHeadBytes;
    const std::weak_ptr<int> here = alive_;
    links::dial_and_greet(
        transport_, first, limits, kDialTimeout, hello,
        [this, here, epoch](Result<links::Greeted> link) {
            if (here.expired()) {
                if (link) link->connection->close();
                return;
            }
            if (!link) return events_.on_broken(epoch, link.error());
            to_first_ = std::move(*link);
            to_first_.connection->start(std::make_shared<ResultReceiver>(
                [](std::span<const std::byte>) {},
                [this, here, epoch](const Error& reason) {
                    if (here.expired()) return;
                    events_.on_broken(epoch, lost("to the first", reason));
                }));
            maybe_open();
        },
        wire_);
}

void PipelineEnds::take_results(Epoch epoch, links::Greeted from_last) {
    from_last_ = std::move(from_last);
    const std::weak_ptr<int> here = alive_;
    from_last_.connection->start(std::make_shared<ResultReceiver>(
        [this, here](std::span<const std::byte> frame) {
            if (!here.expired()) events_.on_result(frame);
        },
        [this, here, epoch](const Error& reason) {
            if (here.expired()) return;
            events_.on_broken(epoch, lost("from the last", reason));
        }));
    maybe_open();
}

void PipelineEnds::maybe_open() {
    if (to_first_.connection && from_last_.connection) events_.on_open(epoch_);
}

Status PipelineEnds::send(std::span<const std::byte> head) {
    if (!to_first_.connection) return {};
    return to_first_.connection->send(head, {}, {});
}

}  // namespace potluck::coordinator
