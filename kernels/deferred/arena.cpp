#include "kernels/deferred/arena.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "base/aligned_buffer.h"
#include "base/check.h"

namespace potluck::kernels::deferred {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kLargest = std::size_t{64} << 30;
constexpr std::size_t kSmallest = std::size_t{1} << 30;

}  // namespace

Result<std::unique_ptr<Arena>> Arena::reserve() {
    for (std::size_t size = kLargest; size >= kSmallest; size /= 2) {
        void* const base =
            ::mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base != MAP_FAILED) return std::make_unique<Arena>(static_cast<std::byte*>(base), size);
    }
    return error(
        ErrorCode::kResourceExhausted,
        fmt::format("cannot reserve {} bytes of addresses: {}", kSmallest, std::strerror(errno)));
}

Arena::Arena(std::byte* base, std::size_t size) : base_(base), size_(size) {
    pieces_[base] = {.bytes = size};
}

Arena::~Arena() {
    ::munmap(base_, size_);
}

std::byte* Arena::allocate(std::size_t bytes) {
    if (bytes > size_) return nullptr;
    const std::size_t aligned =
        (bytes + kBufferAlignment - 1) / kBufferAlignment * kBufferAlignment;
    const std::size_t needed = (aligned + kPage - 1) / kPage * kPage + kPage;
    for (auto& [begin, piece] : pieces_) {
        if (piece.data != nullptr || piece.bytes < needed) continue;
        if (piece.bytes > needed) pieces_[begin + needed] = {.bytes = piece.bytes - needed};
        piece.bytes = needed;
        piece.data = begin + needed - aligned;  // at the end: the next piece's guard page follows
        used_ += needed;
        return piece.data;
    }
    return nullptr;
}

void Arena::release(std::byte* data) {
    const auto found = std::find_if(pieces_.begin(), pieces_.end(), [data](const auto& entry) {
        return entry.second.data == data && !entry.second.released;
    });
    POTLUCK_CHECK(data != nullptr && found != pieces_.end());
    found->second.released = true;
}

bool Arena::protect(std::byte* begin, const Piece& piece, int protection) {
    if (piece.data == nullptr || piece.released || piece.bytes == kPage) return true;
    return ::mprotect(begin + kPage, piece.bytes - kPage, protection) == 0;
}

void Arena::reclaim() {
    for (auto it = pieces_.begin(); it != pieces_.end();) {
        Piece& piece = it->second;
        if (piece.released) {
            ::madvise(it->first, piece.bytes, MADV_DONTNEED);  // zeros for the next owner
            used_ -= piece.bytes;
            piece = {.bytes = piece.bytes};
        }
        const auto next = std::next(it);
        const bool free_pair =
            piece.data == nullptr && it != pieces_.begin() && std::prev(it)->second.data == nullptr;
        if (free_pair) {
            std::prev(it)->second.bytes += piece.bytes;
            pieces_.erase(it);
        }
        it = next;
    }
}

Status Arena::open() {
    for (auto& [begin, piece] : pieces_) {
        if (protect(begin, piece, PROT_READ | PROT_WRITE)) continue;
        const int reason = errno;
        close();
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("cannot open device memory: {}", std::strerror(reason)));
    }
    return {};
}

void Arena::close() {
    for (auto& [begin, piece] : pieces_)
        POTLUCK_CHECK(protect(begin, piece, PROT_NONE));
    reclaim();
}

}  // namespace potluck::kernels::deferred
