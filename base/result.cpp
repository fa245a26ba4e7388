#include "base/result.h"

namespace potluck {

std::string_view to_string(ErrorCode code) {
    switch (code) {
        case ErrorCode::kInvalidArgument:
            return "invalid argument";
        case ErrorCode::kNotFound:
            return "not found";
        case ErrorCode::kUnsupported:
            return "unsupported";
        case ErrorCode::kResourceExhausted:
            return "resource exhausted";
        case ErrorCode::kPeerLost:
            return "peer lost";
        case ErrorCode::kTimedOut:
            return "timed out";
        case ErrorCode::kCancelled:
            return "cancelled";
        case ErrorCode::kCorrupt:
            return "corrupt";
        case ErrorCode::kInternal:
            return "internal";
    }
    return "unknown";
}

}  // namespace potluck
