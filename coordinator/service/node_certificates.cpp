#include "coordinator/service/node_certificates.h"

#include <set>
#include <utility>

#include "base/log.h"

namespace potluck::coordinator {
namespace {

using std::chrono::system_clock;

/// Of a certificate that was checked before; one that cannot be read is due at once.
security::Validity validity_of(const security::Standing& standing) {
    return security::validity(standing.credentials()->certificate).value_or(security::Validity{});
}

}  // namespace

NodeCertificates::NodeCertificates(boost::asio::io_context& loop, NodeCertificatesOptions options)
    : options_(std::move(options)), timer_(loop), own_(validity_of(*options_.standing)) {
    revoked_.mutable_revoked();
    look();
    renew_own();
    wait();
}

void NodeCertificates::wait() {
    timer_.expires_after(kRegistryInterval);
    timer_.async_wait([this](const boost::system::error_code& cancelled) {
        if (cancelled) return;
        wait();
        look();
        renew_own();
    });
}

void NodeCertificates::look() {
    const std::uint64_t stamp = options_.registry->stamp();
    if (stamp_ == stamp) return;
    const auto enrolments = options_.registry->read();
    if (!enrolments) {
        if (std::exchange(last_problem_, enrolments.error().message) != enrolments.error().message)
            log::failure("who is revoked cannot be read, and stays as it was: {}", last_problem_);
        return;
    }
    last_problem_.clear();
    stamp_ = stamp;
    std::set<std::string> names(enrolments->revoked.begin(), enrolments->revoked.end());
    proto::Control message;
    for (const auto& name : names)
        message.mutable_revoked()->add_node_names(name);
    if (names.size() == static_cast<std::size_t>(revoked_.revoked().node_names_size())) return;
    log::warning("{} certificates are revoked now", names.size());
    revoked_ = std::move(message);
    options_.standing->revoke(std::move(names));
    if (options_.cut) options_.cut();
    if (on_change_) on_change_();
}

void NodeCertificates::renew_own() {
    const auto now = system_clock::now();
    if (!options_.keep_own || !own_.due(now)) return;
    own_.asked(now);
    auto made = security::issue(options_.authority, {security::Role::kCoordinator, {}}, now,
                                options_.validity);
    if (!made) return log::failure("the coordinator's certificate: {}", made.error().message);
    if (auto kept = options_.keep_own(*made); !kept)
        return log::failure("the coordinator's certificate: {}", kept.error().message);
    options_.standing->renew(std::move(*made));
    own_.renewed(validity_of(*options_.standing));
    log::info("the coordinator's certificate is renewed");
}

proto::Control NodeCertificates::renew(const std::string& name, const proto::Renew& request) {
    // As it is written now, not as it was when we looked last.
    const auto enrolments = options_.registry->read();
    const auto certificate = [&]() -> Result<std::string> {
        if (!enrolments) return tl::make_unexpected(enrolments.error());
        if (enrolments->is_revoked(name))
            return error(ErrorCode::kInvalidArgument, "the certificate of " + name + " is revoked");
        return security::sign_request(options_.authority, request.request(),
                                      {security::Role::kWorker, name}, system_clock::now(),
                                      options_.validity);
    }();
    proto::Control answer;
    if (certificate) {
        log::info("the certificate of {} is renewed", name);
        answer.mutable_renewed()->set_certificate(*certificate);
    } else {
        log::warning("the certificate of {} is not renewed: {}", name, certificate.error().message);
        answer.mutable_renewed()->set_refused(proto::to_utf8(certificate.error().message));
    }
    return answer;
}

}  // namespace potluck::coordinator
