#include "transport/tls_engine.h"

#include <openssl/err.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include <boost/asio/error.hpp>
#include <boost/asio/ssl/error.hpp>

namespace potluck::transport {
namespace {

/// Records that leave, and come, in one system call.
constexpr std::size_t kOutgoingBytes = 272U << 10;
constexpr std::size_t kIncomingBytes = 136U << 10;
/// What a record, and a change of key before it, take beside the text.
constexpr std::size_t kOverheadBytes = 512;
/// AES-GCM is safe for 2^24.5 full records with one key (RFC 8446, section 5.5).
constexpr std::size_t kRecordsPerKey = std::size_t{1} << 22;

error_code ssl_error() {
    const auto code = static_cast<int>(ERR_get_error());
    ERR_clear_error();
    if (code == 0) return asio::error::connection_reset;
    return {code, asio::error::get_ssl_category()};
}

}  // namespace

TlsEngine::TlsEngine(SslPtr ssl, security::BioPtr network)
    : ssl_(std::move(ssl)),
      network_(std::move(network)),
      gathered_(std::make_unique<std::array<std::byte, kRecordBytes>>()) {}

Result<TlsEngine> TlsEngine::make(SSL_CTX* context, bool server) {
    SslPtr ssl(SSL_new(context));
    BIO* inner = nullptr;
    BIO* outer = nullptr;
    if (!ssl || BIO_new_bio_pair(&inner, kOutgoingBytes, &outer, kIncomingBytes) != 1)
        return error(ErrorCode::kResourceExhausted, "TLS: " + security::openssl_error());
    SSL_set_bio(ssl.get(), inner, inner);
    if (server) {
        SSL_set_accept_state(ssl.get());
    } else {
        SSL_set_connect_state(ssl.get());
    }
    return TlsEngine(std::move(ssl), security::BioPtr(outer));
}

TlsEngine::Progress TlsEngine::handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return Progress::kDone;
    const int why = SSL_get_error(ssl_.get(), result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return Progress::kMore;
    ended_ = ssl_error();
    return Progress::kFailed;
}

std::string TlsEngine::failure() const {
    const long verified = SSL_get_verify_result(ssl_.get());
    // Of a joining machine alone; OpenSSL has no words for it.
    if (verified == X509_V_ERR_APPLICATION_VERIFICATION)
        return "it has no certificate of the authority that the join token names";
    if (verified != X509_V_OK) return X509_verify_cert_error_string(verified);
    return ended_.message();
}

bool TlsEngine::write_record(std::span<const std::byte> plain, error_code& ec) {
    ERR_clear_error();
    if (++records_ % kRecordsPerKey == 0)
        SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);  // leaves before this record
    std::size_t written = 0;
    if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &written) != 1 ||
        written != plain.size()) {
        ec = ssl_error();
        return false;
    }
    return true;
}

std::size_t TlsEngine::encrypt(const BufferView<asio::const_buffer>& from, error_code& ec) {
    std::size_t taken = 0;
    const asio::const_buffer* piece = from.begin();
    std::size_t offset = 0;  // of *piece
    const auto rest = [&] {
        return std::span(static_cast<const std::byte*>(piece->data()), piece->size())
            .subspan(offset);
    };
    const auto advance = [&](std::size_t bytes) {
        offset += bytes;
        if (offset == piece->size()) {
            ++piece;
            offset = 0;
        }
    };
    BIO* inner = SSL_get_wbio(ssl_.get());
    while (piece != from.end() &&
           BIO_ctrl_get_write_guarantee(inner) >= kRecordBytes + kOverheadBytes) {
        if (rest().size() >= kRecordBytes) {
            if (!write_record(rest().first(kRecordBytes), ec)) return taken;
            taken += kRecordBytes;
            advance(kRecordBytes);
            continue;
        }
        std::size_t have = 0;
        while (piece != from.end() && have < kRecordBytes) {
            const auto next = rest().first(std::min(rest().size(), kRecordBytes - have));
            std::memcpy(gathered_->data() + have, next.data(), next.size());
            have += next.size();
            advance(next.size());
        }
        if (!write_record(std::span(*gathered_).first(have), ec)) return taken;
        taken += have;
    }
    return taken;
}

std::size_t TlsEngine::decrypt(const BufferView<asio::mutable_buffer>& to, error_code& ec) {
    std::size_t filled = 0;
    for (const asio::mutable_buffer& space : to) {
        auto* data = static_cast<std::byte*>(space.data());
        std::size_t have = 0;
        while (have < space.size() && !ended_) {
            ERR_clear_error();
            std::size_t n = 0;
            const int result = SSL_read_ex(ssl_.get(), data + have, space.size() - have, &n);
            have += n;
            if (result == 1) continue;
            const int why = SSL_get_error(ssl_.get(), result);
            if (why == SSL_ERROR_WANT_READ) return filled + have;
            ended_ = why == SSL_ERROR_ZERO_RETURN ? error_code(asio::error::eof) : ssl_error();
        }
        filled += have;
    }
    if (filled == 0) ec = ended_;  // else the next call says it
    return filled;
}

std::span<const std::byte> TlsEngine::outgoing() {
    char* data = nullptr;
    const int n = BIO_nread0(network_.get(), &data);
    if (n <= 0) return {};
    return {reinterpret_cast<const std::byte*>(data), static_cast<std::size_t>(n)};
}

void TlsEngine::sent(std::size_t bytes) {
    char* data = nullptr;
    BIO_nread(network_.get(), &data, static_cast<int>(bytes));
}

std::span<std::byte> TlsEngine::incoming() {
    char* data = nullptr;
    const int n = BIO_nwrite0(network_.get(), &data);
    if (n <= 0) return {};
    return {reinterpret_cast<std::byte*>(data), static_cast<std::size_t>(n)};
}

void TlsEngine::received(std::size_t bytes) {
    char* data = nullptr;
    BIO_nwrite(network_.get(), &data, static_cast<int>(bytes));
}

}  // namespace potluck::transport
