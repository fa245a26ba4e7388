#include "worker/service/certificate_keeper.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/log.h"

namespace potluck::worker {
namespace {

using std::chrono::system_clock;

/// The longest sleep: a machine that slept itself, or whose clock was set, finds out in time.
constexpr std::chrono::minutes kLongestWait{10};

}  // namespace

CertificateKeeper::CertificateKeeper(boost::asio::io_context& loop, CertificateOptions options,
                                     std::string name,
                                     std::function<void(const proto::Control&)> tell)
    : options_(std::move(options)), name_(std::move(name)), tell_(std::move(tell)), timer_(loop) {
    if (!options_.standing || !options_.keep) return;
    if (const auto validity = security::validity(options_.standing->credentials()->certificate))
        renewal_.emplace(*validity);
}

void CertificateKeeper::on_open(bool renews) {
    renews_ = renews && renewal_.has_value();
    wait();
}

void CertificateKeeper::on_lost() {
    renews_ = false;
    key_.clear();
    timer_.cancel();
}

void CertificateKeeper::wait() {
    if (!renews_) return;
    const auto now = system_clock::now();
    if (renewal_->due(now)) ask();
    const auto left = std::clamp<system_clock::duration>(
        renewal_->next() - now, std::chrono::milliseconds(1), kLongestWait);
    timer_.expires_after(std::chrono::ceil<std::chrono::milliseconds>(left));
    timer_.async_wait([this](const boost::system::error_code& cancelled) {
        if (!cancelled) wait();
    });
}

void CertificateKeeper::ask() {
    renewal_->asked(system_clock::now());
    auto made = security::make_request();
    if (!made) return log::failure("a new key: {}", made.error().message);
    key_ = std::move(made->key);
    proto::Control message;
    message.mutable_renew()->set_request(made->request);
    tell_(message);
}

bool CertificateKeeper::on_message(const proto::Control& message) {
    if (message.has_renewed()) {
        take(message.renewed());
        return true;
    }
    if (!message.has_revoked()) return false;
    if (!options_.standing) return true;
    const auto& names = message.revoked().node_names();
    log::info("{} certificates of the cluster are revoked", names.size());
    options_.standing->revoke(std::set<std::string>(names.begin(), names.end()));
    if (options_.cut) options_.cut();
    return true;
}

void CertificateKeeper::take(const proto::Renewed& answer) {
    const std::string key = std::exchange(key_, {});
    if (key.empty()) return log::warning("the coordinator renews what was not asked for");
    if (!answer.refused().empty())
        return log::warning("the certificate is not renewed: {}", answer.refused());
    security::Credentials renewed{options_.standing->credentials()->ca, answer.certificate(), key};
    const auto node = security::check_credentials(renewed, system_clock::now());
    if (!node || *node != security::NodeIdentity{security::Role::kWorker, name_})
        return log::warning("the renewed certificate is none for {}", name_);
    const auto validity = security::validity(renewed.certificate);
    if (!validity) return log::warning("{}", validity.error().message);
    if (auto kept = options_.keep(renewed); !kept)
        return log::failure("the renewed certificate cannot be kept: {}", kept.error().message);
    options_.standing->renew(std::move(renewed));
    renewal_->renewed(*validity);
    log::info("the certificate of {} is renewed", name_);
    wait();
}

}  // namespace potluck::worker
