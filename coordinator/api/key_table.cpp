#include "coordinator/api/key_table.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace potluck::coordinator::api {

void KeyTable::replace(std::vector<ApiKey> keys, AdmissionTime now) {
    std::vector<std::shared_ptr<KeyHolder>> holders;
    holders.reserve(keys.size());
    for (const ApiKey& key : keys) {
        const auto before = std::ranges::find(keys_, key.name, &ApiKey::name);
        if (before == keys_.end()) {
            holders.push_back(std::make_shared<KeyHolder>(
                KeyHolder{key.name, TenantId(++last_tenant_), KeyAccount(key.limits, now)}));
            continue;
        }
        const auto& holder =
            holders_[static_cast<std::size_t>(std::distance(keys_.begin(), before))];
        holder->account.set_limits(key.limits, now);
        holders.push_back(holder);
    }
    keys_ = std::move(keys);
    holders_ = std::move(holders);
}

std::shared_ptr<KeyHolder> KeyTable::find(std::string_view key) const {
    const auto place = find_key(keys_, hash_key(key));
    return place ? holders_[*place] : nullptr;
}

}  // namespace potluck::coordinator::api
