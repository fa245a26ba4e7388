#pragma once

// How a machine becomes a worker: with a join token it gets a certificate of the cluster.

#include <chrono>
#include <functional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "security/join_token.h"
#include "security/state_files.h"

namespace potluck::worker {

/// Between attempts to reach a coordinator that is not there yet: doubles from the first to the
/// last.
inline constexpr std::chrono::milliseconds kFirstJoinRetry{500};
inline constexpr std::chrono::milliseconds kLongestJoinRetry{8000};

/// Whether it may work later with the same token: nobody answered (yet), as opposed to a refusal, a
/// certificate that does not fit, or a malformed address.
inline bool may_join_later(const Error& error) {
    return error.code == ErrorCode::kPeerLost || error.code == ErrorCode::kTimedOut ||
           error.code == ErrorCode::kNotFound;
}

/// Makes a key, shows the token's secret to the coordinator, once that has proved to be the one
/// that the token names, and calls `on_done` once, on the loop, with what to keep. The key does not
/// leave this machine.
void enrol(boost::asio::io_context& loop, const security::JoinToken& token,
           const std::string& wanted_name,
           std::function<void(Result<security::WorkerState>)> on_done);

}  // namespace potluck::worker
