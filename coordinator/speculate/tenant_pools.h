#pragma once

// One pool per tenant, for at most so many tenants: who was idle longest loses its own. Sequences
// share the ownership of the pool that they began with, so that losing it never hurts them.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace potluck::coordinator {

template <typename Pool>
class TenantPools {
  public:
    explicit TenantPools(std::size_t most) : most_(most > 0 ? most : 1) {}

    /// The tenant's pool; `make()` returns a new shared_ptr for one that has none.
    template <typename Make>
    std::shared_ptr<Pool> of(TenantId tenant, Make&& make) {
        ++now_;
        Entry* oldest = nullptr;
        for (auto& entry : entries_) {
            if (entry.tenant == tenant) {
                entry.used = now_;
                return entry.pool;
            }
            if (oldest == nullptr || entry.used < oldest->used) oldest = &entry;
        }
        Entry added{tenant, now_, make()};
        if (entries_.size() < most_) return entries_.emplace_back(std::move(added)).pool;
        *oldest = std::move(added);
        return oldest->pool;
    }

  private:
    struct Entry {
        TenantId tenant;
        std::uint64_t used = 0;
        std::shared_ptr<Pool> pool;
    };
    std::size_t most_;
    std::uint64_t now_ = 0;
    std::vector<Entry> entries_;
};

}  // namespace potluck::coordinator
