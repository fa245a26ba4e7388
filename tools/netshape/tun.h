#pragma once

// A TUN device inside a network namespace: the machine's end of a wire. Linux: tuntap.txt of the
// kernel's documentation, network_namespaces(7).

#include <cstdint>
#include <string>

#include "base/file_descriptor.h"
#include "base/result.h"

namespace potluck::netshape {

/// Makes the device "shape0" in the namespace /run/netns/`name`, with `address`/24 and `mtu`, up,
/// and brings "lo" up. The descriptor does not block; one read or write is one IPv4 packet. The
/// device is gone when it closes. Needs CAP_SYS_ADMIN and CAP_NET_ADMIN; errors say which step
/// failed.
///
/// For programs of one thread: the thread visits the namespace meanwhile.
Result<FileDescriptor> open_tun(const std::string& name, std::uint32_t address, int mtu);

}  // namespace potluck::netshape
