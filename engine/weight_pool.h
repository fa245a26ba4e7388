#pragma once

// The weights on one device, by the tensors that they were made from. They outlive the shards that
// use them: when a plan changes, a stage that is loaded again reads only what the device has not.
//
// Thread: that of the device, which must outlive it.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "engine/steps.h"
#include "model/gguf/gguf.h"

namespace potluck::engine {

class WeightPool {
  public:
    /// What file a tensor is of: its paths, sizes and times of writing. Another file under the same
    /// path is another source.
    static std::string source_of(const model::gguf::Gguf& file);

    /// Null if it is not here.
    std::shared_ptr<const Weight> find(const std::string& source, const std::string& tensor) const;
    void put(const std::string& source, const std::string& tensor,
             std::shared_ptr<const Weight> weight);
    /// Drops what no shard uses, except these tensors of `source`.
    void keep_only(const std::string& source, const std::set<std::string>& tensors);

    /// Device memory of all that is here.
    std::uint64_t bytes() const;

    /// Bytes of files, since it was made: that were read, and that need not be read because their
    /// weights were here.
    struct Counters {
        std::uint64_t read = 0;
        std::uint64_t kept = 0;
    };
    Counters counters;

  private:
    std::map<std::pair<std::string, std::string>, std::shared_ptr<const Weight>> weights_;
};

}  // namespace potluck::engine
