#include "kernels/deferred/coarse_device.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <utility>

#include "kernels/api/ops.h"

namespace potluck::kernels::deferred {
namespace {

/// Bits of a float's fraction that are cut off: as many as bf16 has not.
constexpr std::uint32_t kCut = (1U << 16) - 1;

Status coarse_add(Stream&, const AddArgs& args) {
    for (std::size_t i = 0; i < args.n; ++i) {
        const auto sum = std::bit_cast<std::uint32_t>(args.a[i] + args.b[i]);
        args.out[i] = std::bit_cast<float>(sum & ~kCut);
    }
    return {};
}

OpTable with_coarse_sums(OpTable ops) {
    ops.add = coarse_add;
    return ops;
}

class CoarseDevice final : public Device {
  public:
    explicit CoarseDevice(std::unique_ptr<Device> inner)
        : inner_(std::move(inner)), ops_(with_coarse_sums(inner_->ops())) {}

    std::string name() const override { return fmt::format("coarse ({})", inner_->name()); }
    std::string arithmetic_class() const override { return "coarse-1"; }

    Result<std::unique_ptr<Buffer>> allocate(std::size_t bytes) override {
        return inner_->allocate(bytes);
    }
    std::size_t free_bytes() const override { return inner_->free_bytes(); }
    Result<std::unique_ptr<PackedWeight>> pack(std::span<const std::byte> bytes, TensorType type,
                                               std::size_t columns, RowRange range) override {
        return inner_->pack(bytes, type, columns, range);
    }
    bool keeps_bytes() const override { return inner_->keeps_bytes(); }
    std::size_t packed_bytes(TensorType type, std::size_t columns,
                             std::size_t rows) const override {
        return inner_->packed_bytes(type, columns, rows);
    }
    std::unique_ptr<Stream> create_stream() override { return inner_->create_stream(); }
    const OpTable& ops() const override { return ops_; }
    std::optional<std::string> unsupported(const Requirement& requirement) const override {
        return inner_->unsupported(requirement);
    }
    std::size_t activation_bytes(ActivationForm form, std::size_t rows,
                                 std::size_t columns) const override {
        return inner_->activation_bytes(form, rows, columns);
    }
    std::size_t attention_scratch_bytes(const AttentionLimits& limits) const override {
        return inner_->attention_scratch_bytes(limits);
    }

  private:
    std::unique_ptr<Device> inner_;
    OpTable ops_;
};

}  // namespace

std::unique_ptr<Device> make_coarse_device(std::unique_ptr<Device> inner) {
    return std::make_unique<CoarseDevice>(std::move(inner));
}

}  // namespace potluck::kernels::deferred
