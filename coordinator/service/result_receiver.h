#pragma once

// The receiving half of the coordinator's data connections.

#include <functional>
#include <utility>

#include "base/result.h"
#include "transport/api.h"

namespace potluck::coordinator {

/// Results of the last stage.
class ResultReceiver : public transport::Receiver {
  public:
    ResultReceiver(std::function<void(std::span<const std::byte>)> on_result,
                   std::function<void(const Error&)> lost)
        : on_result_(std::move(on_result)), lost_(std::move(lost)) {}
    Result<std::span<std::byte>> on_head(std::span<const std::byte>, std::size_t) override {
        return error(ErrorCode::kCorrupt, "a result came with a payload");
    }
    Status on_frame(std::span<const std::byte> head, std::span<std::byte>) override {
        on_result_(head);
        return {};
    }
    void on_closed(const Error& reason) override { lost_(reason); }

  private:
    std::function<void(std::span<const std::byte>)> on_result_;
    std::function<void(const Error&)> lost_;
};

}  // namespace potluck::coordinator
