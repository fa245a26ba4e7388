#pragma once

// Errors are values. `Result<T>` holds a T or an Error; `Status` holds nothing or an Error.
// The function that first decides which error it is writes the message; callers add context with
// `with_context` or handle it. Nothing in Potluck throws; what third-party code throws is caught in
// the file that calls it.

#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace potluck {

/// The closed set of codes. A new one is added only when some caller would act on it.
enum class ErrorCode {
    kInvalidArgument,    ///< the caller asked for something that can never work
    kNotFound,           ///< a file, model, sequence or node that is not there
    kUnsupported,        ///< valid, but this build or device cannot do it
    kResourceExhausted,  ///< a named bound is reached; may work later
    kPeerLost,           ///< a connection or a process at the other end is gone
    kTimedOut,
    kCancelled,
    kCorrupt,   ///< a file or frame contradicts itself or its format
    kInternal,  ///< our own mistake
};

std::string_view to_string(ErrorCode code);

struct Error {
    ErrorCode code = ErrorCode::kInternal;
    std::string message;  ///< names what and where; shown to people as it is
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> error(ErrorCode code, std::string message) {
    return tl::unexpected<Error>(Error{code, std::move(message)});
}
[[nodiscard]] inline tl::unexpected<Error> with_context(Error e, std::string_view context) {
    e.message.insert(0, std::string(context) + ": ");
    return tl::unexpected<Error>(std::move(e));
}

}  // namespace potluck

#define POTLUCK_CONCAT_INNER(a, b) a##b
#define POTLUCK_CONCAT(a, b) POTLUCK_CONCAT_INNER(a, b)

/// POTLUCK_TRY(expr): evaluates a Status or Result and returns its error, if any, to our caller.
#define POTLUCK_TRY(expr)                                                      \
    do {                                                                       \
        if (auto&& potluck_try_result = (expr); !potluck_try_result)           \
            return tl::make_unexpected(std::move(potluck_try_result.error())); \
    } while (false)

/// POTLUCK_ASSIGN(auto x, expr): declares or assigns x from a Result, or returns its error.
#define POTLUCK_ASSIGN(target, expr) \
    POTLUCK_ASSIGN_INNER(POTLUCK_CONCAT(potluck_assign_, __LINE__), target, expr)
#define POTLUCK_ASSIGN_INNER(temporary, target, expr)                             \
    auto&& temporary = (expr);                                                    \
    if (!(temporary)) return tl::make_unexpected(std::move((temporary).error())); \
    target = std::move(*(temporary))
