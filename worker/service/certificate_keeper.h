#pragma once

// Keeps a worker's standing in its cluster: renews its certificate over the control link before it
// ends, and takes from the coordinator whose certificates count no more.
//
// Thread: the loop's. Writing a renewed certificate blocks it for some milliseconds; that is rare.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "base/result.h"
#include "proto/control.h"
#include "security/renewal.h"
#include "security/standing.h"

namespace potluck::worker {

struct CertificateOptions {
    std::shared_ptr<security::Standing> standing;  ///< null: nothing is renewed, nobody refused
    /// Keeps a renewed certificate; an error keeps the old one.
    std::function<Status(const security::Credentials&)> keep;
    std::function<void()> cut;  ///< the standing names new revoked nodes: end their connections
};

class CertificateKeeper {
  public:
    /// `tell`: to the coordinator. `name`: of this worker.
    CertificateKeeper(boost::asio::io_context& loop, CertificateOptions options, std::string name,
                      std::function<void(const proto::Control&)> tell);

    /// The coordinator has welcomed us; `renews`: whether it can sign.
    void on_open(bool renews);
    void on_lost();
    /// False if the message is about something else.
    bool on_message(const proto::Control& message);

  private:
    void wait();
    void ask();
    void take(const proto::Renewed& answer);

    CertificateOptions options_;
    std::string name_;
    std::function<void(const proto::Control&)> tell_;
    boost::asio::steady_timer timer_;
    bool renews_ = false;
    std::optional<security::Renewal> renewal_;
    std::string key_;  ///< of the request under way; empty: none is
};

}  // namespace potluck::worker
