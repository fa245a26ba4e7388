#pragma once

// The certificates of a cluster: one authority (CA) signs one certificate per node. Keys are ECDSA
// on P-256. A certificate names role and name of its node in a URI, "potluck:coordinator" or
// "potluck:worker:NAME": links check that, not host names, so that machines may change addresses.
//
// Pure but for the random bits of new keys; the time is always given. Any thread.

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "security/identity.h"

struct x509_st;

namespace potluck::security {

using Time = std::chrono::system_clock::time_point;
using Fingerprint = std::array<std::uint8_t, 32>;  ///< SHA-256 of a certificate's DER

inline constexpr std::size_t kMaxNameBytes = 63;
inline constexpr std::size_t kMaxRequestBytes = 4096;
inline constexpr std::chrono::seconds kNodeValidity = std::chrono::hours(365 * 24);
inline constexpr std::chrono::hours kAuthorityValidity{10 * 365 * 24};

/// May sign: whoever has the key can make nodes of this cluster.
struct Authority {
    std::string certificate;  ///< PEM
    std::string key;          ///< PEM
};

/// A node's new key, and the request (PKCS #10, DER) that shows that it has it.
struct KeyAndRequest {
    std::string key;      ///< PEM; stays where it was made
    std::string request;  ///< DER
};

/// Up to kMaxNameBytes letters, digits, '-', '_', '.'.
bool is_node_name(std::string_view name);

Result<Authority> make_authority(const std::string& cluster_id, Time now);
Result<KeyAndRequest> make_request();
/// Nothing but the key is taken from the request, which must be signed with it: kCorrupt if it is
/// not, or is none. Returns PEM.
Result<std::string> sign_request(const Authority& authority, std::string_view request,
                                 const NodeIdentity& node, Time now,
                                 std::chrono::seconds validity = kNodeValidity);
/// Key, request and signature in one: for nodes whose key may be made here.
Result<Credentials> issue(const Authority& authority, const NodeIdentity& node, Time now,
                          std::chrono::seconds validity = kNodeValidity);

/// When a certificate (PEM) counts. It begins before it was made: clocks differ.
struct Validity {
    Time from;
    Time until;
};
Result<Validity> validity(const std::string& certificate_pem);

Result<Fingerprint> fingerprint(const std::string& certificate_pem);
/// That these belong together and are valid at `now`; says who they are.
Result<NodeIdentity> check_credentials(const Credentials& credentials, Time now);
/// What a certificate that was verified already says.
Result<NodeIdentity> identity_of(x509_st* certificate);

/// n random bytes of the system's cryptographic source.
Result<std::string> random_bytes(std::size_t n);

}  // namespace potluck::security
