#pragma once

// The coordinator's two data links of the pipeline of the moment: rows go to the first stage,
// results come from the last one.
//
// Thread: the loop's.

#include <functional>
#include <memory>
#include <span>

#include "base/ids.h"
#include "base/result.h"
#include "links/control_link.h"
#include "transport/api.h"

namespace potluck::coordinator {

class PipelineEnds {
  public:
    struct Events {
        std::function<void(std::span<const std::byte> head)> on_result;
        std::function<void(Epoch)> on_open;  ///< both are there
        std::function<void(Epoch, const Error&)> on_broken;
    };

    /// `wire`: the versions that this coordinator speaks.
    PipelineEnds(transport::Transport& transport, proto::WireVersions wire, Events events);
    ~PipelineEnds();
    PipelineEnds(const PipelineEnds&) = delete;
    PipelineEnds& operator=(const PipelineEnds&) = delete;

    /// Dials the first stage of the pipeline of `epoch`.
    void open(Epoch epoch, const links::Destination& first);
    bool has_results() const { return from_last_.connection != nullptr; }
    /// The last stage has dialled and was greeted.
    void take_results(Epoch epoch, links::Greeted from_last);
    /// What the first stage and the last one speak; while they are there.
    const proto::WireLayout* rows_wire() const { return to_first_.wire; }
    const proto::WireLayout& results_wire() const { return *from_last_.wire; }
    /// Nothing is sent, and no error, when the first stage is not there.
    Status send(std::span<const std::byte> head);
    /// Nobody is called any more for what was open or was being dialled.
    void close();

  private:
    void maybe_open();

    transport::Transport& transport_;
    proto::WireVersions wire_;
    Events events_;
    Epoch epoch_;
    links::Greeted to_first_;
    links::Greeted from_last_;
    std::shared_ptr<int> alive_;  ///< until close()
};

}  // namespace potluck::coordinator
