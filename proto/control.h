#pragma once

// Control messages as bytes: the head of a transport frame without payload is the prefix
// {u32 magic "PLKC", u32 version}, little-endian, then one serialised Control. Data connections
// begin with a control frame too (Hello), so that the magic tells what a frame is.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "proto/control.pb.h"

namespace potluck::proto {

inline constexpr std::uint32_t kControlMagic = 0x434B4C50;  ///< "PLKC"
inline constexpr std::uint32_t kControlVersion = 1;         ///< of the prefix and of Control
inline constexpr std::size_t kControlPrefixBytes = 8;
/// A parsed message may take some tens of times its bytes.
inline constexpr std::size_t kMaxControlBytes = 4U << 20;

bool is_control(std::span<const std::byte> head);

/// Strings travel as to_utf8 makes them.
std::vector<std::byte> encode_control(const Control& message);
/// kCorrupt if these bytes are no control message, kUnsupported if it is of a kind or version that
/// this build does not know.
Result<Control> decode_control(std::span<const std::byte> head);

/// `text` with every byte that is not part of valid UTF-8 replaced by '?': protobuf refuses strings
/// that are not, and error messages may quote file names.
std::string to_utf8(std::string_view text);

/// The highest version that both sides speak. `peer_min` and `peer_max` come from a Hello.
Result<std::uint16_t> negotiate(std::uint16_t min, std::uint16_t max, std::uint32_t peer_min,
                                std::uint32_t peer_max);

}  // namespace potluck::proto
