#include "kernels/deferred/deferred_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "kernels/api/ops.h"
#include "kernels/deferred/arena.h"
#include "kernels/deferred/wrapped_device.h"

namespace potluck::kernels::deferred {
namespace {

/// Commands that a stream holds; a full one does its work at once, as a real queue would block.
constexpr std::size_t kMaxCommands = 4096;

struct Upload {
    std::byte* device;
    std::span<const std::byte> host;
};
struct Download {
    std::span<std::byte> host;
    const std::byte* device;
};
/// An op of the inner device and its arguments by value.
template <typename Args>
struct Call {
    Op<Args> op;
    Args args;
};
using Command =
    std::variant<std::monostate, Upload, Download, Call<EmbedArgs>, Call<RmsNormArgs>,
                 Call<QuantizeArgs>, Call<MatmulArgs>, Call<RopeAnglesArgs>, Call<RopeArgs>,
                 Call<KvStoreArgs>, Call<KvCopyArgs>, Call<AttentionArgs>, Call<SwigluArgs>,
                 Call<AddArgs>, Call<GatherRowsArgs>, Call<MatmulGroupArgs>,
                 Call<RmsNormQuantizeArgs>, Call<SwigluQuantizeArgs>, Call<RopeKvStoreArgs>>;

class DeferredBuffer final : public Buffer {
  public:
    DeferredBuffer(Arena& arena, std::byte* data, std::size_t size)
        : arena_(arena), data_(data), size_(size) {}
    ~DeferredBuffer() override { arena_.release(data_); }
    DeferredBuffer(const DeferredBuffer&) = delete;
    DeferredBuffer& operator=(const DeferredBuffer&) = delete;
    std::byte* data() const override { return data_; }
    std::size_t size() const override { return size_; }

  private:
    Arena& arena_;
    std::byte* data_;
    std::size_t size_;
};

class DeferredStream final : public Stream {
  public:
    DeferredStream(Arena& arena, const OpTable& inner_ops, std::unique_ptr<Stream> inner)
        : arena_(arena), inner_ops_(inner_ops), inner_(std::move(inner)) {
        commands_.reserve(kMaxCommands);
    }

    Status upload(std::byte* device, std::span<const std::byte> host) override {
        push(Upload{device, host});
        return {};
    }
    Status download(std::span<std::byte> host, const std::byte* device) override {
        push(Download{host, device});
        return {};
    }
    Status synchronize() override {
        flush();
        return std::exchange(failure_, Status{});
    }

    void push(Command command) {
        if (commands_.size() == kMaxCommands) flush();
        commands_.push_back(std::move(command));
    }
    const OpTable& inner_ops() const { return inner_ops_; }

  private:
    /// Does everything that is queued, in order; after a failure nothing more until it is reported.
    void flush() {
        if (failure_ && !commands_.empty()) failure_ = execute_all();
        commands_.clear();
    }

    Status execute_all() {
        POTLUCK_TRY(arena_.open());
        Status status;
        for (std::size_t i = 0; i < commands_.size() && status; ++i)
            status =
                std::visit([this](const auto& command) { return execute(command); }, commands_[i]);
        if (status) status = inner_->synchronize();
        arena_.close();
        return status;
    }

    Status execute(const std::monostate&) { return {}; }
    Status execute(const Upload& u) { return inner_->upload(u.device, u.host); }
    Status execute(const Download& d) { return inner_->download(d.host, d.device); }
    template <typename Args>
    Status execute(const Call<Args>& call) {
        return call.op(*inner_, call.args);
    }

    Arena& arena_;
    const OpTable& inner_ops_;
    std::unique_ptr<Stream> inner_;
    std::vector<Command> commands_;  ///< never grows beyond what was reserved
    Status failure_;
};

/// The op that queues a call of the inner device's op in the same slot of the table.
template <typename Args, Op<Args> OpTable::*kSlot>
Status defer(Stream& stream, const Args& args) {
    auto& deferred = static_cast<DeferredStream&>(stream);
    deferred.push(Call<Args>{deferred.inner_ops().*kSlot, args});
    return {};
}

/// Every slot that the inner device fills.
OpTable deferred_ops(const OpTable& inner) {
    OpTable ops;
    const auto fill = [&]<typename Args, Op<Args> OpTable::*kSlot>() {
        if (inner.*kSlot != nullptr) ops.*kSlot = defer<Args, kSlot>;
    };
    fill.template operator()<EmbedArgs, &OpTable::embed>();
    fill.template operator()<RmsNormArgs, &OpTable::rms_norm>();
    fill.template operator()<QuantizeArgs, &OpTable::quantize>();
    fill.template operator()<MatmulArgs, &OpTable::matmul>();
    fill.template operator()<RopeAnglesArgs, &OpTable::rope_angles>();
    fill.template operator()<RopeArgs, &OpTable::rope>();
    fill.template operator()<KvStoreArgs, &OpTable::kv_store>();
    fill.template operator()<KvCopyArgs, &OpTable::kv_copy>();
    fill.template operator()<AttentionArgs, &OpTable::attention>();
    fill.template operator()<SwigluArgs, &OpTable::swiglu>();
    fill.template operator()<AddArgs, &OpTable::add>();
    fill.template operator()<GatherRowsArgs, &OpTable::gather_rows>();
    fill.template operator()<MatmulGroupArgs, &OpTable::matmul_group>();
    fill.template operator()<RmsNormQuantizeArgs, &OpTable::rms_norm_quantize>();
    fill.template operator()<SwigluQuantizeArgs, &OpTable::swiglu_quantize>();
    fill.template operator()<RopeKvStoreArgs, &OpTable::rope_kv_store>();
    return ops;
}

class DeferredDevice final : public WrappedDevice {
  public:
    DeferredDevice(std::unique_ptr<Device> inner_device, std::unique_ptr<Arena> arena)
        : WrappedDevice(std::move(inner_device)),
          arena_(std::move(arena)),
          ops_(deferred_ops(inner().ops())) {}

    std::string name() const override { return fmt::format("deferred ({})", inner().name()); }

    Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes) override {
        const std::size_t free = free_bytes();
        std::byte* const data = bytes <= free ? arena_->allocate(bytes) : nullptr;
        if (data == nullptr)
            return error(
                ErrorCode::kResourceExhausted,
                fmt::format("{} bytes of device memory asked for, {} are free", bytes, free));
        return std::make_unique<DeferredBuffer>(*arena_, data, bytes);
    }
    std::size_t free_bytes() const override {
        return std::min(inner().free_bytes(), arena_->free_bytes());
    }
    std::unique_ptr<Stream> create_stream() override {
        return std::make_unique<DeferredStream>(*arena_, inner().ops(), inner().create_stream());
    }
    const OpTable& ops() const override { return ops_; }

  private:
    std::unique_ptr<Arena> arena_;
    OpTable ops_;
};

}  // namespace

Result<std::unique_ptr<Device>> make_deferred_device(std::unique_ptr<Device> inner) {
    POTLUCK_ASSIGN(std::unique_ptr<Arena> arena, Arena::reserve());
    return std::make_unique<DeferredDevice>(std::move(inner), std::move(arena));
}

}  // namespace potluck::kernels::deferred
