#include "worker/service/link_prober.h"

#include "base/log.h"

namespace potluck::worker {

void LinkProber::probe(const proto::ProbeLink& wanted) {
    const links::Destination to{wanted.address(), {security::Role::kWorker, wanted.node_name()}};
    probe_ = std::make_unique<links::LinkProbe>(
        transport_, to, own_name_, [this, id = wanted.id()](Result<links::LinkFigures> figures) {
            proto::Control message;
            auto& probed = *message.mutable_link_probed();
            probed.set_id(id);
            if (figures) {
                probed.set_rtt_ns(static_cast<std::uint64_t>(figures->rtt.count()));
                probed.set_bytes_per_s(figures->bytes_per_s);
            } else {
                probed.set_error(proto::to_utf8(figures.error().message));
            }
            tell_(message);
        });
}

void LinkProber::greet(const std::shared_ptr<links::ControlLink>& link) {
    proto::Control answer;
    *answer.mutable_hello() = links::make_hello(proto::Hello::PROBE, own_name_);
    if (!link->send(answer)) return link->close();
    server_.serve(link->release());
}

}  // namespace potluck::worker
