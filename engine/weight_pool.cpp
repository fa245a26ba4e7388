#include "engine/weight_pool.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

namespace potluck::engine {

std::string WeightPool::source_of(const model::gguf::Gguf& file) {
    std::string source;
    for (std::uint32_t shard = 0; shard < file.shard_count(); ++shard) {
        std::error_code none;  // a file in memory has no time
        const auto time = std::filesystem::last_write_time(file.shard_name(shard), none);
        source += fmt::format("{}@{} ", file.shard_name(shard),
                              none ? 0 : time.time_since_epoch().count());
    }
    return source + std::to_string(file.file_bytes());
}

std::shared_ptr<const Weight> WeightPool::find(const std::string& source,
                                               const std::string& tensor) const {
    const auto found = weights_.find({source, tensor});
    return found == weights_.end() ? nullptr : found->second;
}

void WeightPool::put(const std::string& source, const std::string& tensor,
                     std::shared_ptr<const Weight> weight) {
    weights_.insert_or_assign({source, tensor}, std::move(weight));
}

void WeightPool::keep_only(const std::string& source, const std::set<std::string>& tensors) {
    std::erase_if(weights_, [&](const auto& entry) {
        const auto& [key, weight] = entry;
        if (weight.use_count() > 1) return false;
        return key.first != source || !tensors.contains(key.second);
    });
}

std::uint64_t WeightPool::bytes() const {
    std::uint64_t total = 0;
    for (const auto& [key, weight] : weights_)
        total += weight->matrix ? weight->matrix->bytes() : weight->vector->size();
    return total;
}

}  // namespace potluck::engine
