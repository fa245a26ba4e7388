#pragma once

// A device that has another one do what it does not do itself.
//
// Thread: the inner device's.

#include <memory>
#include <utility>

#include "kernels/api/device.h"

namespace potluck::kernels::deferred {

class WrappedDevice : public Device {
  public:
    explicit WrappedDevice(std::unique_ptr<Device> inner) : inner_(std::move(inner)) {}

    std::string arithmetic_class() const override { return inner_->arithmetic_class(); }

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

  protected:
    Device& inner() { return *inner_; }
    const Device& inner() const { return *inner_; }

  private:
    std::unique_ptr<Device> inner_;
};

}  // namespace potluck::kernels::deferred
