#include "worker/service/enrol.h"

#include <chrono>
#include <memory>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "links/control_link.h"
#include "transport/tls.h"

namespace potluck::worker {
namespace {

constexpr std::chrono::seconds kTimeout{10};

/// Owns itself until it is done.
class Enrolment : public std::enable_shared_from_this<Enrolment> {
  public:
    Enrolment(boost::asio::io_context& loop, const security::JoinToken& token,
              std::function<void(Result<security::WorkerState>)> on_done)
        : loop_(loop), timer_(loop), token_(token), on_done_(std::move(on_done)) {}

    Status begin(const std::string& wanted_name) {
        POTLUCK_ASSIGN(made_, security::make_request());
        POTLUCK_ASSIGN(transport_, transport::make_joining_transport(loop_, token_.ca));
        timer_.expires_after(kTimeout);
        timer_.async_wait([self = shared_from_this()](const boost::system::error_code& cancelled) {
            if (!cancelled) self->end(error(ErrorCode::kTimedOut, "the coordinator says nothing"));
        });
        const links::Destination to{token_.address, {security::Role::kCoordinator, {}}};
        links::dial_and_greet(*transport_, to, {.max_payload_bytes = 0}, kTimeout,
                              links::make_hello(proto::Hello::ENROL, wanted_name),
                              [self = shared_from_this()](auto greeted) {
                                  if (!self->on_done_) return;
                                  if (!greeted)
                                      return self->end(tl::make_unexpected(greeted.error()));
                                  self->ask(std::move(greeted->connection));
                              });
        return {};
    }
    void end(Result<security::WorkerState> result) {
        timer_.cancel();
        if (link_) link_->close();
        if (auto done = std::exchange(on_done_, nullptr)) done(std::move(result));
    }

  private:
    void ask(std::shared_ptr<transport::Connection> connection) {
        links::ControlLink::Handler handler;
        handler.on_message = [self = shared_from_this()](const proto::Control& message) {
            self->end(self->answer(message));
        };
        handler.on_closed = [self = shared_from_this()](const Error& reason) {
            self->end(tl::make_unexpected(reason));
        };
        link_ = links::ControlLink::attach(std::move(connection), std::move(handler));
        proto::Control message;
        message.mutable_enrol()->set_secret(token_.secret);
        message.mutable_enrol()->set_request(made_.request);
        if (auto sent = link_->send(message); !sent) end(tl::make_unexpected(sent.error()));
    }
    Result<security::WorkerState> answer(const proto::Control& message) {
        if (!message.has_enrolled())
            return error(ErrorCode::kCorrupt, "the coordinator did not answer the request");
        const auto& enrolled = message.enrolled();
        if (!enrolled.refused().empty())
            return error(ErrorCode::kInvalidArgument,
                         "the coordinator refused: " + enrolled.refused());
        // The authority is the one that the token named: the handshake checked the fingerprint, and
        // the new certificate must be its, too.
        return security::WorkerState{token_.address,
                                     {enrolled.authority(), enrolled.certificate(), made_.key}};
    }

    boost::asio::io_context& loop_;
    boost::asio::steady_timer timer_;
    security::JoinToken token_;
    std::function<void(Result<security::WorkerState>)> on_done_;
    security::KeyAndRequest made_;
    std::unique_ptr<transport::Transport> transport_;
    std::shared_ptr<links::ControlLink> link_;
};

}  // namespace

void enrol(boost::asio::io_context& loop, const security::JoinToken& token,
           const std::string& wanted_name,
           std::function<void(Result<security::WorkerState>)> on_done) {
    const auto check = [ca = token.ca,
                        on_done = std::move(on_done)](Result<security::WorkerState> got) {
        if (!got) return on_done(std::move(got));
        const auto authority = security::fingerprint(got->credentials.ca);
        if (!authority || *authority != ca)
            return on_done(error(ErrorCode::kCorrupt, "the coordinator sent another authority"));
        auto checked =
            security::check_credentials(got->credentials, std::chrono::system_clock::now());
        if (!checked)
            return on_done(with_context(std::move(checked.error()), "the new certificate"));
        on_done(std::move(got));
    };
    const auto enrolment = std::make_shared<Enrolment>(loop, token, check);
    if (auto begun = enrolment->begin(wanted_name); !begun) {
        boost::asio::post(loop, [enrolment, why = std::move(begun.error())] {
            enrolment->end(tl::make_unexpected(why));
        });
    }
}

}  // namespace potluck::worker
