#pragma once

// Text that comes from a file or a peer, made fit for messages and terminals.

#include <cstddef>
#include <string>
#include <string_view>

namespace potluck {

/// `text` as valid UTF-8 without control characters: those and invalid bytes become \xNN. At most
/// about `limit` bytes of it are shown, then "...".
std::string printable(std::string_view text, std::size_t limit = 80);

}  // namespace potluck
