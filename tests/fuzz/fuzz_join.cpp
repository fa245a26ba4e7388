// Reads a join token, the registry's file, a handed-over identity and a certificate request: what
// is taken must survive being written again, and nothing that is no request may be signed.

#include <cstdint>
#include <string>
#include <string_view>

#include "security/certificates.h"
#include "security/enrolments.h"
#include "security/join_token.h"
#include "security/state_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace potluck::security;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto token = parse_join_token(text)) {
        if (to_string(*token) != text) __builtin_trap();
    }
    if (const auto enrolments = parse_enrolments(text)) {
        const auto again = parse_enrolments(to_json(*enrolments));
        if (!again || *again != *enrolments) __builtin_trap();
    }
    if (const auto worker = parse_worker(text)) {
        static_cast<void>(check_credentials(worker->credentials, Time{}));
    }
    constexpr Time kNow{std::chrono::seconds(1'800'000'000)};
    static const Authority authority = make_authority("fuzz", kNow).value();
    const NodeIdentity node{Role::kWorker, "fuzz"};
    if (const auto certificate = sign_request(authority, text, node, kNow)) {
        if (!fingerprint(*certificate)) __builtin_trap();
    }
    return 0;
}
