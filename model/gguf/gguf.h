#pragma once

// Reads GGUF model files: versions 2 and 3, one file or a split set, memory-mapped read-only.
// Format: the GGUF specification of the ggml project. Everything in a file is checked before it is
// used; an error names the file, the key or tensor, and the byte offset.

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/tensor_type.h"

namespace potluck::model::gguf {

enum class ValueType : std::uint32_t {
    kU8 = 0,
    kI8 = 1,
    kU16 = 2,
    kI16 = 3,
    kU32 = 4,
    kI32 = 5,
    kF32 = 6,
    kBool = 7,
    kString = 8,
    kArray = 9,
    kU64 = 10,
    kI64 = 11,
    kF64 = 12,
};
std::string_view to_string(ValueType type);

/// An array of scalars or strings, never of arrays. Numbers stay as the file's bytes (unaligned,
/// little-endian); strings are views into the mapping. Bools were checked to be 0 or 1.
struct Array {
    ValueType element = ValueType::kU8;
    std::uint64_t count = 0;
    std::span<const std::byte> raw;         ///< numbers and bools only
    std::vector<std::string_view> strings;  ///< strings only
};

/// Integers are widened to 64 bits and floats to double; `KeyValue::type` tells what the file held.
using Value = std::variant<bool, std::uint64_t, std::int64_t, double, std::string_view, Array>;

struct KeyValue {
    std::string_view key;
    ValueType type = ValueType::kU8;
    Value value;
    std::uint64_t offset = 0;  ///< of the key, in its file
};

struct TensorInfo {
    std::string_view name;
    TensorType type = TensorType::kF32;
    std::uint32_t n_dims = 0;
    std::array<std::uint64_t, 4> dims{1, 1, 1, 1};  ///< dims[0] is contiguous
    std::uint32_t shard = 0;                        ///< file of a split set, from 0
    std::uint64_t offset = 0;                       ///< of the first byte, in its file
    std::uint64_t bytes = 0;
    std::span<const std::byte> data;  ///< in the mapping; alignment is only the file's

    std::uint64_t rows() const { return dims[1] * dims[2] * dims[3]; }
};

/// The beginning of a file of `file_bytes`: all but its tensors' data.
struct FileHead {
    std::span<const std::byte> bytes;
    std::uint64_t file_bytes = 0;
};

/// The data of a tensor that lies elsewhere; empty if it is not at hand.
using TensorData = std::function<std::span<const std::byte>(const TensorInfo& tensor)>;

/// An open model file (all shards). Immutable and safe to read from any thread; views and spans it
/// gives out live as long as it does. Hold it in a shared_ptr.
///
/// The data is mapped, not read: the first touch of a page reads the disk, and a file that is
/// truncated while it is open ends the process (SIGBUS). Replace model files by renaming.
class Gguf {
    struct Impl;

  public:
    /// Opens `path`; if its metadata says it is shard 0 of a split set, the siblings
    /// `<prefix>-0000N-of-0000M.gguf` are opened too.
    static Result<std::shared_ptr<const Gguf>> open(const std::filesystem::path& path);
    /// Parses one unsplit file that is already in memory; `bytes` must outlive the result.
    static Result<std::shared_ptr<const Gguf>> parse(std::span<const std::byte> bytes,
                                                     std::string name);
    /// A model (all its files, in order) of which only the heads are at hand; `data` says where its
    /// tensors are, as whole mapped pages. `owner` keeps all of it. kCorrupt if `data` gives a
    /// tensor another number of bytes than it has.
    static Result<std::shared_ptr<const Gguf>> assemble(std::span<const FileHead> heads,
                                                        const std::string& name,
                                                        const TensorData& data,
                                                        std::shared_ptr<const void> owner);
    explicit Gguf(
        std::unique_ptr<Impl> impl);  ///< for open and parse, which alone can make an Impl
    ~Gguf();
    Gguf(const Gguf&) = delete;
    Gguf& operator=(const Gguf&) = delete;

    std::uint32_t version() const;
    const std::string& name() const;   ///< the path, for messages
    std::uint64_t file_bytes() const;  ///< over all shards
    std::uint32_t shard_count() const;
    const std::string& shard_name(std::uint32_t shard) const;  ///< its path; shard < shard_count()
    FileHead head(std::uint32_t shard) const;                  ///< up to its first tensor's data
    std::span<const KeyValue> metadata() const;                ///< of shard 0
    std::span<const TensorInfo> tensors() const;

    const KeyValue* find(std::string_view key) const;
    const TensorInfo* find_tensor(std::string_view name) const;

    /// Advice about tensors of this file's tensors(): that one is about to be read whole, and that
    /// it will not be read again for a while, so that it need not count as this process's memory.
    void will_read(const TensorInfo& tensor) const;
    void forget(const TensorInfo& tensor) const;

    // Typed getters: kNotFound if the key is absent, kCorrupt if it holds another type or range.
    Result<std::string_view> get_string(std::string_view key) const;
    Result<std::uint64_t> get_uint(std::string_view key) const;  ///< any integer type, >= 0
    Result<double> get_float(std::string_view key) const;        ///< f32 or f64
    Result<bool> get_bool(std::string_view key) const;
    Result<std::span<const std::string_view>> get_strings(std::string_view key) const;
    Result<std::vector<std::int64_t>> get_ints(
        std::string_view key) const;  ///< any integer or bool array
    Result<std::vector<float>> get_floats(std::string_view key) const;  ///< array of f32

  private:
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::model::gguf
