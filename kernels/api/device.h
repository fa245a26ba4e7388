#pragma once

// What a device is to the engine: memory, packed weights, a stream of operations, and an honest
// answer to "what can you not do". Implementations: kernels/cpu, kernels/deferred, later CUDA, HIP.
//
// Thread: a device and all its objects belong to one executor thread; nothing here locks.
// Device memory is never touched by the host except through Stream::upload and Stream::download.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/kv_type.h"
#include "base/result.h"
#include "base/tensor_type.h"

namespace potluck::kernels {

struct OpTable;

/// Owned device memory. `data()` is an address in the device's own space, for op arguments only.
class Buffer {
  public:
    virtual ~Buffer() = default;
    virtual std::byte* data() const = 0;
    virtual std::size_t size() const = 0;

    template <typename T>
    T* as() const {
        return reinterpret_cast<T*>(data());
    }
};

/// A weight matrix in the device's own layout: `rows()` outputs by `columns()` inputs. Opaque: only
/// Device::pack and the scalar reference ever see GGUF blocks.
class PackedWeight {
  public:
    virtual ~PackedWeight() = default;
    virtual TensorType type() const = 0;
    virtual std::size_t rows() const = 0;
    virtual std::size_t columns() const = 0;
    virtual std::size_t bytes() const = 0;  ///< device memory that it takes
};

/// How a matrix product wants its activations (docs/arithmetic.md); a function of the weight's
/// type.
enum class ActivationForm : std::uint8_t { kF32, kInt8x32 };
ActivationForm activation_form(TensorType weight);

/// An ordered queue of operations. Ops enqueue and return; an error in execution surfaces at the
/// next synchronize(). Host memory given to upload/download stays untouched and alive until then.
class Stream {
  public:
    virtual ~Stream() = default;
    virtual Status upload(std::byte* device, std::span<const std::byte> host) = 0;
    virtual Status download(std::span<std::byte> host, const std::byte* device) = 0;
    /// Waits until everything that was enqueued is done.
    virtual Status synchronize() = 0;
};

struct RowRange {
    std::size_t begin = 0;
    std::size_t end = 0;
};

enum class OpKind : std::uint8_t {
    kEmbed,
    kRmsNorm,
    kQuantize,
    kMatmul,
    kRopeAngles,
    kRope,
    kKvStore,
    kKvCopy,
    kAttention,
    kSwiglu,
    kAdd,
    kGatherRows,
};
std::string_view to_string(OpKind op);

/// One thing a model needs of a device; fields that an op does not depend on stay at their
/// defaults.
struct Requirement {
    OpKind op = OpKind::kMatmul;
    TensorType type = TensorType::kF32;  ///< of the weight, for kEmbed and kMatmul
    std::size_t columns = 0;             ///< inner dimension, for kEmbed and kMatmul
    std::size_t head_dim = 0;            ///< for kRope, kKvStore, kAttention
    KvType kv = KvType::kF16;            ///< for kKvStore, kKvCopy, kAttention: of keys or values
};

/// What attention over the paged cache may be asked for, to size its scratch memory.
struct AttentionLimits {
    std::size_t max_rows = 0;
    std::size_t max_context = 0;
    std::size_t heads = 0;
    std::size_t head_dim = 0;
    KvType k_type = KvType::kF16;
};

class Device {
  public:
    virtual ~Device() = default;

    virtual std::string name() const = 0;  ///< for people: "cpu (2 threads, avx512)"
    /// Devices of one class give the same bits (docs/arithmetic.md).
    virtual std::string arithmetic_class() const = 0;

    /// Zeroed memory, 64-byte aligned. kResourceExhausted if there is not enough.
    virtual Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes) = 0;
    /// Bytes that can still be allocated, as far as the device can tell.
    virtual std::size_t free_bytes() const = 0;

    /// Packs rows [range.begin, range.end) of a GGUF matrix of `columns` inputs. `bytes` are the
    /// whole tensor's GGUF bytes, needed only during the call unless keeps_bytes(). Errors:
    /// kUnsupported, kInvalidArgument for sizes that do not fit, kResourceExhausted.
    virtual Result<std::unique_ptr<PackedWeight>> pack(std::span<const std::byte> bytes,
                                                       TensorType type, std::size_t columns,
                                                       RowRange range) = 0;
    /// Packed weights refer to the bytes given to pack(), which must outlive them.
    virtual bool keeps_bytes() const { return false; }
    /// Memory that pack() will take, for planning before loading.
    virtual std::size_t packed_bytes(TensorType type, std::size_t columns,
                                     std::size_t rows) const = 0;

    virtual std::unique_ptr<Stream> create_stream() = 0;
    virtual const OpTable& ops() const = 0;

    /// Empty if the device can do it, else why not, for people.
    virtual std::optional<std::string> unsupported(const Requirement& requirement) const = 0;

    /// Bytes of `rows` activation rows of `columns` values in a form.
    virtual std::size_t activation_bytes(ActivationForm form, std::size_t rows,
                                         std::size_t columns) const = 0;
    virtual std::size_t attention_scratch_bytes(const AttentionLimits& limits) const = 0;
};

}  // namespace potluck::kernels
