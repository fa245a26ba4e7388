#pragma once

// Writes GGUF files, for tests and tools. Tensors may be produced piece by piece while writing, so
// a file may be far larger than memory.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/tensor_type.h"
#include "model/gguf/gguf.h"

namespace potluck::model::gguf {

/// Every kind of metadata value. The C++ type decides the type in the file: write
/// `std::uint32_t{7}`, not `7`, which is an i32.
using WriterValue =
    std::variant<std::uint8_t, std::int8_t, std::uint16_t, std::int16_t, std::uint32_t,
                 std::int32_t, float, bool, std::string, std::uint64_t, std::int64_t, double,
                 std::vector<std::uint8_t>, std::vector<std::int8_t>, std::vector<std::uint16_t>,
                 std::vector<std::int16_t>, std::vector<std::uint32_t>, std::vector<std::int32_t>,
                 std::vector<float>, std::vector<bool>, std::vector<std::string>,
                 std::vector<std::uint64_t>, std::vector<std::int64_t>, std::vector<double>>;

/// Takes the next bytes of the output.
using ByteSink = std::function<Status(std::span<const std::byte>)>;
/// Gives a tensor's bytes to the sink, in as many pieces as it likes, all of them exactly once.
using TensorProducer = std::function<Status(const ByteSink&)>;

struct WriterOptions {
    std::uint32_t version = 3;     ///< 2 or 3; they differ in nothing but the number
    std::uint32_t alignment = 32;  ///< another one adds `general.alignment`
};

/// Collects metadata and tensors, then writes them in the order given. The first mistake is
/// remembered and returned by the write. For a split set, write each file with its own writer and
/// add the keys `split.no` (u16), `split.count` (u16) and `split.tensors.count` (i32).
class GgufWriter {
  public:
    explicit GgufWriter(WriterOptions options = {});

    /// Keys must differ. `general.alignment` (u32) sets the alignment; add it before any tensor.
    void add(std::string_view key, const WriterValue& value);
    /// Copies a pair of a file that was read, bit by bit.
    void add(const KeyValue& kv);
    /// `dims[0]` is contiguous; 0 to 4 of them. `bytes` must be as many as type and dims say.
    void add_tensor(std::string_view name, TensorType type, std::span<const std::uint64_t> dims,
                    std::vector<std::byte> bytes);
    void add_tensor(std::string_view name, TensorType type, std::span<const std::uint64_t> dims,
                    TensorProducer producer);

    /// Writes `<path>.partial` and renames it, so that `path` is never half a file.
    Status write(const std::filesystem::path& path) const;
    Result<std::vector<std::byte>> to_bytes() const;

  private:
    struct PendingTensor {
        std::string name;
        std::uint64_t bytes = 0;
        TensorProducer producer;
    };
    void remember(ErrorCode code, std::string message);
    void set_alignment(ValueType type, std::span<const std::byte> value);
    void add_encoded(std::string_view key, ValueType type, std::span<const std::byte> value);
    Status emit(const ByteSink& sink) const;
    Status emit_tensor(const PendingTensor& tensor, const ByteSink& sink) const;

    std::uint32_t version_;
    std::uint64_t alignment_ = 32;
    Status first_error_;
    std::uint64_t key_count_ = 0;
    std::vector<std::byte> metadata_;  ///< encoded
    std::vector<std::byte> table_;     ///< encoded tensor records
    std::uint64_t data_bytes_ = 0;     ///< of the tensors so far, padded
    std::vector<PendingTensor> tensors_;
};

}  // namespace potluck::model::gguf
