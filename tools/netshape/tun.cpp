#include "tools/netshape/tun.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace potluck::netshape {
namespace {

constexpr const char* kDevice = "shape0";

tl::unexpected<Error> failed(const std::string& name, const char* step) {
    return error(ErrorCode::kUnsupported,
                 fmt::format("namespace {}: {}: {}", name, step, std::strerror(errno)));
}

sockaddr ipv4(std::uint32_t address) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(address);
    sockaddr any{};
    std::memcpy(&any, &in, sizeof any);
    return any;
}

Status bring_up(const std::string& name, const FileDescriptor& socket, const char* device) {
    ifreq request{};
    std::strncpy(request.ifr_name, device, IFNAMSIZ - 1);
    if (ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return failed(name, device);
    request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
    if (ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return failed(name, device);
    return {};
}

/// In the namespace that the thread is in.
Result<FileDescriptor> make_tun(const std::string& name, std::uint32_t address, int mtu) {
    FileDescriptor tun(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
    if (!tun.is_open()) return failed(name, "/dev/net/tun");
    ifreq request{};
    std::strncpy(request.ifr_name, kDevice, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(tun.get(), TUNSETIFF, &request) != 0) return failed(name, "making a TUN device");
    const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.is_open()) return failed(name, "a socket");
    request.ifr_addr = ipv4(address);
    if (ioctl(socket.get(), SIOCSIFADDR, &request) != 0) return failed(name, "the address");
    request.ifr_netmask = ipv4(0xFFFFFF00);
    if (ioctl(socket.get(), SIOCSIFNETMASK, &request) != 0) return failed(name, "the netmask");
    request.ifr_mtu = mtu;
    if (ioctl(socket.get(), SIOCSIFMTU, &request) != 0) return failed(name, "the MTU");
    POTLUCK_TRY(bring_up(name, socket, kDevice));
    POTLUCK_TRY(bring_up(name, socket, "lo"));
    return tun;
}

}  // namespace

Result<FileDescriptor> open_tun(const std::string& name, std::uint32_t address, int mtu) {
    const FileDescriptor home(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    const FileDescriptor there(open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!home.is_open() || !there.is_open()) return failed(name, "opening it");
    if (setns(there.get(), CLONE_NEWNET) != 0) return failed(name, "entering it");
    auto tun = make_tun(name, address, mtu);
    if (setns(home.get(), CLONE_NEWNET) != 0) return failed(name, "leaving it");
    return tun;
}

}  // namespace potluck::netshape
