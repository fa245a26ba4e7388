#include "weights/tree.h"

#include <openssl/evp.h>

#include <bit>
#include <cstring>

#include "base/check.h"
#include "base/hex.h"

namespace potluck::weights {
namespace {

constexpr std::byte kLeafPrefix{0};
constexpr std::byte kNodePrefix{1};

Digest node_hash(const Digest& left, const Digest& right) {
    return Sha256().add(std::span(&kNodePrefix, 1)).add(left).add(right).finish();
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
    EVP_MD_CTX_free(context);
}

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
    POTLUCK_CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
}
Sha256::~Sha256() = default;

Sha256& Sha256::add(std::span<const std::byte> bytes) {
    POTLUCK_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
    return *this;
}

Sha256& Sha256::add(std::uint64_t number) {
    std::array<std::byte, 8> bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(number >> (8 * i));
    return add(bytes);
}

Digest Sha256::finish() {
    Digest digest;
    POTLUCK_CHECK(EVP_DigestFinal_ex(context_.get(),
                                     reinterpret_cast<unsigned char*>(digest.data()),
                                     nullptr) == 1);
    return digest;
}

bool is_object_size(std::uint64_t bytes) {
    return bytes > 0 && chunk_count(bytes) <= kMaxChunks;
}

Digest leaf_hash(std::span<const std::byte> chunk) {
    return Sha256().add(std::span(&kLeafPrefix, 1)).add(chunk).finish();
}

/// Depth is at most the bits of the number of leaves.
Digest root_of(std::span<const Digest> leaves) {
    POTLUCK_CHECK(!leaves.empty());
    if (leaves.size() == 1) return leaves.front();
    const std::size_t left = std::bit_floor(leaves.size() - 1);
    return node_hash(root_of(leaves.first(left)), root_of(leaves.subspan(left)));
}

std::string to_hex(const Digest& digest) {
    return hex({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

std::optional<Digest> to_digest(std::string_view bytes) {
    Digest digest;
    if (bytes.size() != digest.size()) return std::nullopt;
    std::memcpy(digest.data(), bytes.data(), digest.size());
    return digest;
}

std::string_view as_text(const Digest& digest) {
    return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace potluck::weights
