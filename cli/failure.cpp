#include "cli/failure.h"

#include <iostream>

namespace potluck::cli {

int fail(const Error& error) {
    std::cerr << "potluck: " << error.message << "\n";
    return error.code == ErrorCode::kInvalidArgument ? 2 : 1;
}

}  // namespace potluck::cli
