#pragma once

// The .tree file of a stored object. Private to weights/.

#include <filesystem>
#include <optional>
#include <vector>

#include "base/result.h"
#include "weights/records.h"
#include "weights/tree.h"

namespace potluck::weights {

struct StoredTree {
    std::uint64_t bytes = 0;
    std::vector<Digest> leaves;
    std::optional<FileIdentity> verified;  ///< the state of the .data file that was all right
};

Status write_tree(const std::filesystem::path& path, const StoredTree& tree);
/// kCorrupt unless the leaves are those of `root`.
Result<StoredTree> read_tree(const std::filesystem::path& path, const Digest& root);

std::filesystem::path data_path(std::filesystem::path stem);
std::filesystem::path tree_path(std::filesystem::path stem);

}  // namespace potluck::weights
