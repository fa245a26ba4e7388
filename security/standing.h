#pragma once

// What a node shows on its links and whom it refuses there, while both may change: its certificate
// is renewed, those of others are revoked.
//
// Thread: any; a reader sees the old or the new whole.

#include <atomic>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "security/identity.h"

namespace potluck::security {

class Standing {
  public:
    explicit Standing(Credentials own) { renew(std::move(own)); }

    /// Another pointer after every renewal.
    std::shared_ptr<const Credentials> credentials() const { return own_.load(); }
    void renew(Credentials own) { own_ = std::make_shared<const Credentials>(std::move(own)); }

    bool is_revoked(const NodeIdentity& node) const {
        return node.role == Role::kWorker && revoked_.load()->contains(node.name);
    }
    /// `names`: all workers whose certificates count no more.
    void revoke(std::set<std::string> names) {
        revoked_ = std::make_shared<const std::set<std::string>>(std::move(names));
    }

  private:
    std::atomic<std::shared_ptr<const Credentials>> own_;
    std::atomic<std::shared_ptr<const std::set<std::string>>> revoked_ =
        std::make_shared<const std::set<std::string>>();
};

}  // namespace potluck::security
