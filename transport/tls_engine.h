#pragma once

// TLS as a function of bytes, without I/O: plain text in, records out, and back. Its two rings are
// made once; a warm engine allocates nothing of ours per record. Private to transport/.

#include <openssl/ssl.h>

#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/system/error_code.hpp>

#include "base/result.h"
#include "security/openssl_pointers.h"
#include "transport/stream_connection.h"

namespace potluck::transport {

using SslPtr = std::unique_ptr<SSL, security::FreeWith<SSL_free>>;
using SslContextPtr = std::unique_ptr<SSL_CTX, security::FreeWith<SSL_CTX_free>>;

class TlsEngine {
  public:
    enum class Progress { kDone, kMore, kFailed };

    /// kResourceExhausted if there is no memory.
    static Result<TlsEngine> make(SSL_CTX* context, bool server);

    /// One step of the handshake; what it wants to send is in outgoing(), also after a failure.
    Progress handshake();
    /// Why it failed.
    std::string failure() const;
    /// Of the other side, after the handshake; null if it showed none.
    X509* peer_certificate() const { return SSL_get0_peer_certificate(ssl_.get()); }

    /// Encrypts from the front of `from` as much as outgoing() has room for; how many bytes.
    std::size_t encrypt(const BufferView<asio::const_buffer>& from, error_code& ec);
    /// Fills `to` with what has come; how many bytes. eof when the other side said that it ends.
    std::size_t decrypt(const BufferView<asio::mutable_buffer>& to, error_code& ec);

    /// Records for the other side, the next piece.
    std::span<const std::byte> outgoing();
    void sent(std::size_t bytes);
    /// Where records of the other side belong; never empty while they are decrypted before more
    /// is asked for.
    std::span<std::byte> incoming();
    void received(std::size_t bytes);

  private:
    static constexpr std::size_t kRecordBytes = 16384;  ///< the most that one record holds

    TlsEngine(SslPtr ssl, security::BioPtr network);
    bool write_record(std::span<const std::byte> plain, error_code& ec);

    SslPtr ssl_;
    security::BioPtr network_;  ///< our end of a pair; the other one is ssl_'s
    /// Small pieces become one record.
    std::unique_ptr<std::array<std::byte, kRecordBytes>> gathered_;
    std::size_t records_ = 0;  ///< with this key
    error_code ended_;         ///< nothing can be decrypted any more
};

}  // namespace potluck::transport
