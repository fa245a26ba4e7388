#include "kernels/cpu/cpu_device.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

#include "kernels/api/ops.h"
#include "kernels/cpu/cpu_memory.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/float_ops.h"
#include "kernels/cpu/fused_ops.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/weight_kernels.h"
#include "kernels/cpu/weights.h"

namespace potluck::kernels::cpu {
namespace {

/// What ops work with; owned by the device, which outlives its streams.
struct Core {
    /// With a number of threads and an instruction set.
    explicit Core(const CpuOptions& options)
        : pool(options.threads, options.first_core),
          isa(*options.isa),
          floats(float_kernels(isa)),
          weights(weight_kernels(isa)),
          scratch(std::make_shared<TileScratch>(pool.threads())) {}
    ThreadPool pool;
    Isa isa;
    const FloatKernels& floats;
    const WeightKernels& weights;
    WeightArena arena;
    std::shared_ptr<TileScratch> scratch;  ///< of weights that are not packed
};

/// Work is done by the call that enqueues it, so errors come back from there at once.
class CpuStream final : public Stream {
  public:
    explicit CpuStream(Core& core) : core_(core) {}
    Status upload(std::byte* device, std::span<const std::byte> host) override {
        if (!host.empty()) std::memcpy(device, host.data(), host.size());
        return {};
    }
    Status download(std::span<std::byte> host, const std::byte* device) override {
        if (!host.empty()) std::memcpy(host.data(), device, host.size());
        return {};
    }
    Status synchronize() override { return {}; }
    Core& core() const { return core_; }

  private:
    Core& core_;
};

/// The device's ops only ever get its own streams.
Core& core_of(Stream& stream) {
    return static_cast<CpuStream&>(stream).core();
}

template <typename Args, Status (*kOp)(ThreadPool&, const FloatKernels&, const Args&)>
Status float_op(Stream& stream, const Args& args) {
    Core& core = core_of(stream);
    return kOp(core.pool, core.floats, args);
}

template <typename Args,
          Status (*kOp)(ThreadPool&, const FloatKernels&, QuantizeKernel, const Args&)>
Status fused_op(Stream& stream, const Args& args) {
    Core& core = core_of(stream);
    return kOp(core.pool, core.floats, core.weights.quantize, args);
}

Status embed_op(Stream& stream, const EmbedArgs& args) {
    if (args.n_rows == 0) return {};
    POTLUCK_TRY(require(args.weight && args.tokens && args.out, "embed", "null pointer"));
    Core& core = core_of(stream);
    core.weights.embed(core.pool, args);
    return {};
}

Status quantize_op(Stream& stream, const QuantizeArgs& args) {
    if (args.n_rows == 0) return {};
    POTLUCK_TRY(require(args.x && args.out, "quantize", "null pointer"));
    POTLUCK_TRY(require(args.columns > 0 && args.columns % 32 == 0, "quantize",
                        "columns are no multiple of 32"));
    Core& core = core_of(stream);
    quantize_rows(core.pool, args, core.weights.quantize);
    return {};
}

Status multiply(Stream& stream, std::span<const MatmulArgs> products) {
    for (const MatmulArgs& args : products) {
        if (args.n_rows == 0) return {};
        POTLUCK_TRY(require(args.weight && args.activations && args.out, "matmul", "null pointer"));
        POTLUCK_TRY(require(args.n_rows == products.front().n_rows, "matmul_group",
                            "products of different numbers of rows"));
    }
    Core& core = core_of(stream);
    core.weights.matmul(core.pool, products);
    return {};
}

Status matmul_op(Stream& stream, const MatmulArgs& args) {
    return multiply(stream, {&args, 1});
}

Status matmul_group_op(Stream& stream, const MatmulGroupArgs& args) {
    POTLUCK_TRY(require(args.n_products > 0 && args.n_products <= MatmulGroupArgs::kMax,
                        "matmul_group", "number of products out of range"));
    return multiply(stream, std::span(args.products).first(args.n_products));
}

constexpr OpTable kOps = {
    .embed = embed_op,
    .rms_norm = float_op<RmsNormArgs, rms_norm>,
    .quantize = quantize_op,
    .matmul = matmul_op,
    .rope_angles = float_op<RopeAnglesArgs, rope_angles>,
    .rope = float_op<RopeArgs, rope>,
    .kv_store = float_op<KvStoreArgs, kv_store>,
    .kv_copy = float_op<KvCopyArgs, kv_copy>,
    .attention = float_op<AttentionArgs, attention>,
    .swiglu = float_op<SwigluArgs, swiglu>,
    .add = float_op<AddArgs, add>,
    .gather_rows = float_op<GatherRowsArgs, gather_rows>,
    .matmul_group = matmul_group_op,
    .rms_norm_quantize = fused_op<RmsNormQuantizeArgs, rms_norm_quantize>,
    .swiglu_quantize = fused_op<SwigluQuantizeArgs, swiglu_quantize>,
};

class CpuDevice final : public Device {
  public:
    explicit CpuDevice(const CpuOptions& options) : core_(options), repack_(options.repack) {}

    std::string name() const override {
        const std::size_t threads = core_.pool.threads();
        return fmt::format("cpu ({} {}, {})", threads, threads == 1 ? "thread" : "threads",
                           to_string(core_.isa));
    }
    std::string arithmetic_class() const override { return "cpu-2"; }

    Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes) override {
        return allocate_memory(bytes, n_buffers_++);
    }
    std::size_t free_bytes() const override { return available_memory(); }

    Result<std::unique_ptr<PackedWeight>> pack(std::span<const std::byte> bytes, TensorType type,
                                               std::size_t columns, RowRange range) override {
        if (!repack_)
            return core_.weights.keep(core_.pool, core_.arena, core_.scratch, bytes, type, columns,
                                      range);
        return core_.weights.pack(core_.pool, core_.arena, bytes, type, columns, range);
    }
    bool keeps_bytes() const override { return !repack_; }
    std::size_t packed_bytes(TensorType type, std::size_t columns,
                             std::size_t rows) const override {
        return repack_ ? core_.weights.packed_bytes(type, columns, rows) : 0;
    }

    std::unique_ptr<Stream> create_stream() override { return std::make_unique<CpuStream>(core_); }
    const OpTable& ops() const override { return kOps; }

    std::optional<std::string> unsupported(const Requirement& requirement) const override {
        if (requirement.op == OpKind::kEmbed || requirement.op == OpKind::kMatmul)
            return core_.weights.unsupported(requirement.type, requirement.columns);
        if (const Status fits = check_kv_type(requirement.kv, requirement.head_dim); !fits)
            return fits.error().message;
        return std::nullopt;
    }

    std::size_t activation_bytes(ActivationForm form, std::size_t rows,
                                 std::size_t columns) const override {
        return core_.weights.activation_bytes(form, rows, columns);
    }
    std::size_t attention_scratch_bytes(const AttentionLimits& limits) const override {
        return cpu::attention_scratch_bytes(core_.pool.threads(), limits);
    }

  private:
    Core core_;
    bool repack_;
    std::size_t n_buffers_ = 0;  ///< allocated so far
};

/// Cores that this process may run on.
std::size_t usable_cores() {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (::sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
        return static_cast<std::size_t>(CPU_COUNT(&set));
    return std::max(1U, std::thread::hardware_concurrency());
}

std::string names(std::span<const Isa> isas) {
    std::string text;
    for (const Isa isa : isas)
        text += fmt::format("{}{}", text.empty() ? "" : ", ", to_string(isa));
    return text;
}

/// The instruction set that the environment asks for, else the best.
Result<Isa> default_isa() {
    const char* const name = std::getenv("POTLUCK_CPU_ISA");
    if (name == nullptr || *name == '\0') return available_isas().back();
    if (const auto isa = parse_isa(name)) return *isa;
    return error(ErrorCode::kUnsupported,
                 fmt::format("POTLUCK_CPU_ISA is \"{}\"; this processor has {}", name,
                             names(available_isas())));
}

}  // namespace

Result<CpuOptions> resolve(const CpuOptions& options) {
    POTLUCK_ASSIGN(const Isa isa, options.isa ? Result<Isa>(*options.isa) : default_isa());
    const auto available = available_isas();
    if (std::find(available.begin(), available.end(), isa) == available.end())
        return error(ErrorCode::kUnsupported, fmt::format("this processor has no {}; it has {}",
                                                          to_string(isa), names(available)));
    CpuOptions resolved = options;
    resolved.isa = isa;
    if (resolved.threads == 0) resolved.threads = usable_cores();
    return resolved;
}

Result<std::unique_ptr<Device>> make_cpu_device(const CpuOptions& options) {
    POTLUCK_ASSIGN(const CpuOptions resolved, resolve(options));
    return std::make_unique<CpuDevice>(resolved);
}

}  // namespace potluck::kernels::cpu
