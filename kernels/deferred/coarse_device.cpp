#include "kernels/deferred/coarse_device.h"

#include <fmt/format.h>

#include <bit>
#include <cstdint>
#include <utility>

#include "kernels/api/ops.h"
#include "kernels/deferred/wrapped_device.h"

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

class CoarseDevice final : public WrappedDevice {
  public:
    explicit CoarseDevice(std::unique_ptr<Device> inner_device)
        : WrappedDevice(std::move(inner_device)), ops_(with_coarse_sums(inner().ops())) {}

    std::string name() const override { return fmt::format("coarse ({})", inner().name()); }
    std::string arithmetic_class() const override { return "coarse-1"; }
    const OpTable& ops() const override { return ops_; }

  private:
    OpTable ops_;
};

}  // namespace

std::unique_ptr<Device> make_coarse_device(std::unique_ptr<Device> inner) {
    return std::make_unique<CoarseDevice>(std::move(inner));
}

}  // namespace potluck::kernels::deferred
