// The commands that say who is of a cluster: init, token new, token list, token revoke, nodes
// revoke.

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <iostream>

#include "base/user_directory.h"
#include "cli/commands.h"
#include "cli/failure.h"
#include "cli/state_directory.h"
#include "security/state_files.h"
#include "transport/address.h"

namespace potluck::cli {
namespace {

using std::chrono::system_clock;

constexpr std::uint16_t kDefaultPort = 7070;

/// Of the interface that leads away from this machine. Nothing is sent: a datagram socket is only
/// told where it would send to (an address for documentation, RFC 5737).
std::string own_address() {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in away{};
    away.sin_family = AF_INET;
    away.sin_port = htons(9);
    ::inet_pton(AF_INET, "192.0.2.1", &away.sin_addr);
    sockaddr_in own{};
    socklen_t size = sizeof own;
    char text[INET_ADDRSTRLEN] = "127.0.0.1";
    if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&away), sizeof away) == 0 &&
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &size) == 0)
        ::inet_ntop(AF_INET, &own.sin_addr, text, sizeof text);
    if (fd >= 0) ::close(fd);
    return text;
}

/// A new token, remembered in the registry; its text.
Result<std::string> new_token(const std::string& directory, double hours, std::uint32_t uses) {
    const auto now = system_clock::now();
    POTLUCK_ASSIGN(const security::ClusterState cluster, security::read_cluster(directory));
    security::JoinToken token{.address = cluster.address};
    POTLUCK_ASSIGN(token.ca, security::fingerprint(cluster.authority.certificate));
    POTLUCK_ASSIGN(token.secret, security::random_bytes(security::kSecretBytes));
    token.expires = std::chrono::floor<std::chrono::seconds>(
        now + std::chrono::duration_cast<std::chrono::seconds>(
                  std::chrono::duration<double, std::ratio<3600>>(hours)));
    POTLUCK_TRY(security::open_registry(directory)->change([&](security::Enrolments& enrolments) {
        return enrolments.add({.hash = security::hash_secret(token.secret),
                               .expires = token.expires,
                               .uses_left = uses},
                              now);
    }));
    return to_string(token);
}

std::string state_of(const security::TokenRecord& token, system_clock::time_point now) {
    if (token.revoked) return "revoked";
    if (token.uses_left == 0) return "used up";
    if (token.expires <= now) return "expired";
    const auto left = std::chrono::ceil<std::chrono::minutes>(token.expires - now).count();
    return fmt::format("{} use{} left, for {} h {:02} min", token.uses_left,
                       token.uses_left == 1 ? "" : "s", left / 60, left % 60);
}

/// Of a command: its exit code.
int change_registry(const std::string& dir,
                    const std::function<Status(security::Enrolments&)>& edit) {
    const auto directory = state_directory(dir);
    if (!directory) return fail(directory.error());
    if (auto cluster = security::read_cluster(*directory); !cluster) return fail(cluster.error());
    const auto changed = security::open_registry(*directory)->change(edit);
    return changed ? 0 : fail(changed.error());
}

}  // namespace

Result<std::string> state_directory(const std::string& chosen) {
    const std::string directory = chosen.empty() ? data_directory() : chosen;
    if (directory.empty())
        return error(ErrorCode::kInvalidArgument,
                     "neither HOME nor XDG_DATA_HOME is set: say where with --dir");
    return directory;
}

int run_init(const InitOptions& options) {
    const auto directory = state_directory(options.dir);
    if (!directory) return fail(directory.error());
    const std::string address = options.address.empty()
                                    ? fmt::format("{}:{}", own_address(), kDefaultPort)
                                    : options.address;
    const auto parsed = transport::parse_address(address);
    if (!parsed) return fail(parsed.error());
    if (parsed->host.empty() || parsed->port == 0 || address.size() > security::kMaxAddressBytes)
        return fail({ErrorCode::kInvalidArgument,
                     address + ": workers need the host and the port of the coordinator"});
    const auto cluster = security::make_cluster(address, system_clock::now());
    if (!cluster) return fail(cluster.error());
    if (auto made = security::create_cluster(*directory, *cluster); !made)
        return fail(made.error());
    const auto token = new_token(*directory, options.hours, options.uses);
    if (!token) return fail(token.error());
    std::cerr << fmt::format(
        "cluster {} is in {}; its coordinator will be at {}\n"
        "start it with    potluck coordinator --workers N\n"
        "on each machine  potluck worker --join TOKEN\n"
        "with this token, good for {} machines and {:g} hours:\n",
        cluster->id, *directory, address, options.uses, options.hours);
    std::cout << *token << std::endl;
    return 0;
}

int run_token_new(const TokenOptions& options) {
    const auto directory = state_directory(options.dir);
    if (!directory) return fail(directory.error());
    const auto token = new_token(*directory, options.hours, options.uses);
    if (!token) return fail(token.error());
    std::cout << *token << std::endl;
    return 0;
}

int run_token_list(const TokenOptions& options) {
    const auto directory = state_directory(options.dir);
    if (!directory) return fail(directory.error());
    if (auto cluster = security::read_cluster(*directory); !cluster) return fail(cluster.error());
    const auto listed = security::open_registry(*directory)->read();
    if (!listed) return fail(listed.error());
    const auto now = system_clock::now();
    for (const auto& token : listed->tokens)
        std::cout << fmt::format("{}  {}\n", token.id(), state_of(token, now));
    return 0;
}

int run_token_revoke(const TokenOptions& options) {
    return change_registry(options.dir, [&](auto& all) { return all.revoke(options.id); });
}

int run_nodes_revoke(const RevokeOptions& options) {
    return change_registry(options.dir, [&](auto& all) { return all.revoke_node(options.node); });
}

}  // namespace potluck::cli
