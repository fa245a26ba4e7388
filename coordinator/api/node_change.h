#pragma once

// POST /v1/cluster/drain and undrain: a node is taken out of use, or back (docs/neighbour.md).

#include <string_view>

#include "coordinator/api/backend.h"
#include "coordinator/api/http_text.h"

namespace potluck::coordinator::api {

inline constexpr std::size_t kMaxNodeChangeBytes = 4096;  ///< of a body: it is parsed on the loop

/// `body`: {"node": name}, and for `drain` perhaps "force". 404 for a node that is not known, 409
/// if the model does not fit without it.
Reply change_node(bool drain, std::string_view body, Backend& backend);

}  // namespace potluck::coordinator::api
