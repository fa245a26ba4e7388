#pragma once

// The keys in force and what each has used. Loop thread only.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "coordinator/api/keys.h"
#include "coordinator/core/admission.h"

namespace potluck::coordinator::api {

/// Whoever shows one key.
struct KeyHolder {
    std::string name;
    TenantId tenant;  ///< from 1; the same as long as the name stays in the file
    KeyAccount account;
};

class KeyTable {
  public:
    /// Takes the place of the keys before. Names that stay keep their tenant and what they used,
    /// also with a new key; requests of names that go run to their end. A name that comes back
    /// later is somebody new.
    void replace(std::vector<ApiKey> keys, AdmissionTime now);
    /// Null: no such key.
    std::shared_ptr<KeyHolder> find(std::string_view key) const;
    std::size_t size() const { return keys_.size(); }

  private:
    std::vector<ApiKey> keys_;
    std::vector<std::shared_ptr<KeyHolder>> holders_;  ///< of the key at the same place
    std::uint32_t last_tenant_ = 0;
};

}  // namespace potluck::coordinator::api
