#include "security/certificates.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>

#include "security/openssl_pointers.h"

namespace potluck::security {
namespace {

constexpr std::string_view kCoordinatorUri = "potluck:coordinator";
constexpr std::string_view kWorkerUri = "potluck:worker:";
/// Certificates begin before now: the clocks of a home differ. Those that live shortly begin a
/// tenth of their life before.
constexpr std::chrono::seconds kBackdated = std::chrono::hours(24);

tl::unexpected<Error> failed(std::string_view what) {
    return error(ErrorCode::kInternal, fmt::format("{}: {}", what, openssl_error()));
}

/// What `write` puts into a memory BIO.
template <typename Write>
Result<std::string> written(const Write& write) {
    const BioPtr bio(BIO_new(BIO_s_mem()));
    if (!bio || write(bio.get()) != 1) return failed("encoding");
    char* data = nullptr;
    const long n = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<std::size_t>(n));
}

Result<std::string> to_pem(X509* certificate) {
    return written([&](BIO* bio) { return PEM_write_bio_X509(bio, certificate); });
}
Result<std::string> to_pem(EVP_PKEY* key) {
    return written([&](BIO* bio) {
        return PEM_write_bio_PKCS8PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
    });
}

Result<KeyPtr> make_key() {
    KeyPtr key(EVP_EC_gen("P-256"));
    if (!key) return failed("a new key");
    return key;
}

bool is_p256(EVP_PKEY* key) {
    char group[32] = {};
    return EVP_PKEY_is_a(key, "EC") == 1 &&
           EVP_PKEY_get_group_name(key, group, sizeof group, nullptr) == 1 &&
           std::string_view(group) == "prime256v1";
}

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    if (extension == nullptr) return false;
    const bool added = X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return added;
}

bool set_name(X509_NAME* name, const char* field, const std::string& value) {
    return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8,
                                      reinterpret_cast<const unsigned char*>(value.data()),
                                      static_cast<int>(value.size()), -1, 0) == 1;
}

bool set_serial(X509* certificate) {
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof bytes) != 1) return false;
    bytes[0] = static_cast<unsigned char>((bytes[0] & 0x7F) | 0x40);  // positive, of full length
    BIGNUM* number = BN_bin2bn(bytes, sizeof bytes, nullptr);
    const bool set = number != nullptr &&
                     BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
    BN_free(number);
    return set;
}

bool set_validity(X509* certificate, Time now, std::chrono::seconds validity) {
    const auto at = [](Time t) { return std::chrono::system_clock::to_time_t(t); };
    const auto before = std::min(kBackdated, validity / 10);
    return ASN1_TIME_set(X509_getm_notBefore(certificate), at(now - before)) != nullptr &&
           ASN1_TIME_set(X509_getm_notAfter(certificate), at(now + validity)) != nullptr;
}

std::string uri_of(const NodeIdentity& node) {
    return node.role == Role::kCoordinator ? std::string(kCoordinatorUri)
                                           : std::string(kWorkerUri) + node.name;
}

Result<NodeIdentity> parse_uri(std::string_view uri) {
    if (uri == kCoordinatorUri) return NodeIdentity{Role::kCoordinator, {}};
    if (uri.starts_with(kWorkerUri) && is_node_name(uri.substr(kWorkerUri.size())))
        return NodeIdentity{Role::kWorker, std::string(uri.substr(kWorkerUri.size()))};
    return error(ErrorCode::kCorrupt, "the certificate does not say whose it is");
}

/// kCorrupt with OpenSSL's reason unless `ca` signed `certificate` and both are valid at `now`.
Status verify(X509* ca, X509* certificate, Time now) {
    const StorePtr store(X509_STORE_new());
    const StoreContextPtr context(X509_STORE_CTX_new());
    if (!store || !context || X509_STORE_add_cert(store.get(), ca) != 1 ||
        X509_STORE_CTX_init(context.get(), store.get(), certificate, nullptr) != 1)
        return failed("verifying");
    X509_STORE_CTX_set_time(context.get(), 0, std::chrono::system_clock::to_time_t(now));
    if (X509_verify_cert(context.get()) == 1) return {};
    const int why = X509_STORE_CTX_get_error(context.get());
    ERR_clear_error();
    return error(ErrorCode::kCorrupt, X509_verify_cert_error_string(why));
}

/// The parts that all certificates share, unsigned.
Result<CertificatePtr> draft(EVP_PKEY* key, Time now, std::chrono::seconds validity) {
    CertificatePtr certificate(X509_new());
    if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
        !set_serial(certificate.get()) || !set_validity(certificate.get(), now, validity) ||
        X509_set_pubkey(certificate.get(), key) != 1)
        return failed("a new certificate");
    return certificate;
}

}  // namespace

std::string openssl_error() {
    const unsigned long code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    const char* reason = ERR_reason_error_string(code);
    return reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", code);
}

Result<CertificatePtr> read_certificate(const std::string& pem) {
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    CertificatePtr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
    if (certificate) return certificate;
    return error(ErrorCode::kCorrupt, "not a certificate: " + openssl_error());
}

Result<KeyPtr> read_key(const std::string& pem) {
    const BioPtr bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    // No passphrase is asked for at a terminal.
    const auto no_passphrase = [](char*, int, int, void*) { return -1; };
    KeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    if (key) return key;
    return error(ErrorCode::kCorrupt, "not a private key: " + openssl_error());
}

bool is_node_name(std::string_view name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, allowed);
}

Result<Authority> make_authority(const std::string& cluster_id, Time now) {
    POTLUCK_ASSIGN(const KeyPtr key, make_key());
    POTLUCK_ASSIGN(const CertificatePtr certificate, draft(key.get(), now, kAuthorityValidity));
    X509* c = certificate.get();
    X509_NAME* name = X509_get_subject_name(c);
    if (!set_name(name, "CN", "Potluck cluster " + cluster_id) ||
        X509_set_issuer_name(c, name) != 1 ||
        !add_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !add_extension(c, c, NID_key_usage, "critical,keyCertSign") ||
        !add_extension(c, c, NID_subject_key_identifier, "hash") ||
        X509_sign(c, key.get(), EVP_sha256()) == 0)
        return failed("a new authority");
    Authority authority;
    POTLUCK_ASSIGN(authority.certificate, to_pem(c));
    POTLUCK_ASSIGN(authority.key, to_pem(key.get()));
    return authority;
}

Result<KeyAndRequest> make_request() {
    POTLUCK_ASSIGN(const KeyPtr key, make_key());
    const RequestPtr request(X509_REQ_new());
    if (!request || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
        X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0)
        return failed("a new request");
    KeyAndRequest made;
    POTLUCK_ASSIGN(made.key, to_pem(key.get()));
    POTLUCK_ASSIGN(made.request,
                   written([&](BIO* bio) { return i2d_X509_REQ_bio(bio, request.get()); }));
    return made;
}

Result<std::string> sign_request(const Authority& authority, std::string_view request,
                                 const NodeIdentity& node, Time now,
                                 std::chrono::seconds validity) {
    if (request.size() > kMaxRequestBytes)
        return error(ErrorCode::kCorrupt, "the certificate request is too long");
    const bool named =
        node.role == Role::kCoordinator ? node.name.empty() : is_node_name(node.name);
    if (node.role == Role::kUnknown || !named)
        return error(ErrorCode::kInvalidArgument, "a node needs a role and a name");
    const auto* bytes = reinterpret_cast<const unsigned char*>(request.data());
    const RequestPtr parsed(d2i_X509_REQ(nullptr, &bytes, static_cast<long>(request.size())));
    EVP_PKEY* key = parsed ? X509_REQ_get0_pubkey(parsed.get()) : nullptr;
    if (key == nullptr || !is_p256(key) || X509_REQ_verify(parsed.get(), key) != 1) {
        ERR_clear_error();
        return error(ErrorCode::kCorrupt, "not a certificate request signed with a P-256 key");
    }
    POTLUCK_ASSIGN(const CertificatePtr ca, read_certificate(authority.certificate));
    POTLUCK_ASSIGN(const KeyPtr ca_key, read_key(authority.key));
    POTLUCK_ASSIGN(const CertificatePtr certificate, draft(key, now, validity));
    X509* c = certificate.get();
    const std::string common = node.role == Role::kCoordinator ? "coordinator" : node.name;
    if (!set_name(X509_get_subject_name(c), "CN", common) ||
        X509_set_issuer_name(c, X509_get_subject_name(ca.get())) != 1 ||
        !add_extension(c, ca.get(), NID_basic_constraints, "critical,CA:FALSE") ||
        !add_extension(c, ca.get(), NID_key_usage, "critical,digitalSignature") ||
        !add_extension(c, ca.get(), NID_ext_key_usage, "serverAuth,clientAuth") ||
        !add_extension(c, ca.get(), NID_subject_key_identifier, "hash") ||
        !add_extension(c, ca.get(), NID_authority_key_identifier, "keyid") ||
        !add_extension(c, ca.get(), NID_subject_alt_name, "URI:" + uri_of(node)) ||
        X509_sign(c, ca_key.get(), EVP_sha256()) == 0)
        return failed("signing a certificate");
    return to_pem(c);
}

Result<Credentials> issue(const Authority& authority, const NodeIdentity& node, Time now,
                          std::chrono::seconds validity) {
    POTLUCK_ASSIGN(KeyAndRequest made, make_request());
    POTLUCK_ASSIGN(std::string certificate,
                   sign_request(authority, made.request, node, now, validity));
    return Credentials{authority.certificate, std::move(certificate), std::move(made.key)};
}

Result<Validity> validity(const std::string& certificate_pem) {
    POTLUCK_ASSIGN(const CertificatePtr certificate, read_certificate(certificate_pem));
    const auto read = [](const ASN1_TIME* time, Time& out) {
        std::tm broken_down{};
        if (ASN1_TIME_to_tm(time, &broken_down) != 1) return false;
        out = std::chrono::system_clock::from_time_t(::timegm(&broken_down));
        return true;
    };
    Validity found;
    if (!read(X509_get0_notBefore(certificate.get()), found.from) ||
        !read(X509_get0_notAfter(certificate.get()), found.until) || found.until < found.from)
        return error(ErrorCode::kCorrupt, "the certificate does not say when it counts");
    return found;
}

Result<Fingerprint> fingerprint(const std::string& certificate_pem) {
    POTLUCK_ASSIGN(const CertificatePtr certificate, read_certificate(certificate_pem));
    Fingerprint out{};
    unsigned n = 0;
    if (X509_digest(certificate.get(), EVP_sha256(), out.data(), &n) != 1 || n != out.size())
        return failed("fingerprint");
    return out;
}

Result<NodeIdentity> check_credentials(const Credentials& credentials, Time now) {
    POTLUCK_ASSIGN(const CertificatePtr ca, read_certificate(credentials.ca));
    POTLUCK_ASSIGN(const CertificatePtr certificate, read_certificate(credentials.certificate));
    POTLUCK_ASSIGN(const KeyPtr key, read_key(credentials.key));
    if (X509_check_private_key(certificate.get(), key.get()) != 1) {
        ERR_clear_error();
        return error(ErrorCode::kCorrupt, "the key is not the certificate's");
    }
    POTLUCK_TRY(verify(ca.get(), certificate.get(), now));
    return identity_of(certificate.get());
}

Result<NodeIdentity> identity_of(X509* certificate) {
    auto* names = static_cast<GENERAL_NAMES*>(
        X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    std::string uri;
    if (names != nullptr && sk_GENERAL_NAME_num(names) == 1) {
        const GENERAL_NAME* only = sk_GENERAL_NAME_value(names, 0);
        if (only->type == GEN_URI) {
            const ASN1_IA5STRING* text = only->d.uniformResourceIdentifier;
            uri.assign(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<std::size_t>(ASN1_STRING_length(text)));
        }
    }
    GENERAL_NAMES_free(names);
    return parse_uri(uri);
}

Result<std::string> random_bytes(std::size_t n) {
    std::string bytes(n, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(n)) != 1)
        return error(ErrorCode::kInternal, "the system gives no random bits");
    return bytes;
}

}  // namespace potluck::security
