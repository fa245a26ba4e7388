#include "weights/stored_tree.h"

namespace potluck::weights {
namespace {

constexpr std::uint32_t kTreeMagic = 0x544B4C50;  // "PLKT"

}  // namespace

std::filesystem::path data_path(std::filesystem::path stem) {
    return stem += ".data";
}
std::filesystem::path tree_path(std::filesystem::path stem) {
    return stem += ".tree";
}

Status write_tree(const std::filesystem::path& path, const StoredTree& tree) {
    RecordWriter record(kTreeMagic);
    record.number(tree.bytes).digests(tree.leaves).number(tree.verified ? 1 : 0);
    if (tree.verified) record.identity(*tree.verified);
    return record.write(path);
}

Result<StoredTree> read_tree(const std::filesystem::path& path, const Digest& root) {
    POTLUCK_ASSIGN(auto reader, RecordReader::open(path, kTreeMagic));
    StoredTree tree;
    tree.bytes = reader.number();
    const bool sized =
        is_object_size(tree.bytes) && reader.digests(chunk_count(tree.bytes), tree.leaves);
    if (sized && reader.number() != 0) tree.verified = reader.identity();
    if (!sized || !reader.at_end() || root_of(tree.leaves) != root)
        return error(ErrorCode::kCorrupt, path.string() + ": is not as it was written");
    return tree;
}

}  // namespace potluck::weights
