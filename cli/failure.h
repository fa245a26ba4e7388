#pragma once

#include "base/result.h"

namespace potluck::cli {

/// Says on stderr what went wrong and gives the exit code: 2 for wrong use, else 1.
int fail(const Error& error);

}  // namespace potluck::cli
