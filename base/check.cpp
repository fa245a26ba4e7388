#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace potluck {

void check_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "potluck: internal error: %s does not hold at %s:%d\n", expression, file,
                 line);
    std::abort();
}

}  // namespace potluck
