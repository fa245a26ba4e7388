#pragma once

// What a machine must know of a model to fetch and run parts of it: the heads of its GGUF files
// (metadata and tensor tables) and the address of every tensor, in the order of Gguf::tensors(). A
// manifest is an object itself, with an address of its own.
//
// Bytes, little-endian: u64 "PLKMANIF", u64 version 1, u64 files, u64 tensors; for every file u64
// file bytes, u64 head bytes; the heads; 32 bytes for every tensor; nothing else.
//
// Pure; any thread.

#include <cstddef>
#include <span>
#include <vector>

#include "base/result.h"
#include "model/gguf/gguf.h"
#include "weights/tree.h"

namespace potluck::weights {

/// Above any published model: a vocabulary of a million tokens takes some tens of MiB.
inline constexpr std::uint64_t kMaxManifestBytes = 512U << 20;

struct Manifest {
    std::vector<model::gguf::FileHead> heads;  ///< views into what it was read from
    std::vector<Digest> roots;
};

std::vector<std::byte> encode_manifest(const Manifest& manifest);
/// kCorrupt if these bytes are none.
Result<Manifest> decode_manifest(std::span<const std::byte> bytes);

/// Tells whether a file on another machine is this one, without reading all of it: SHA-256 over the
/// sizes and heads of its files and 4 KiB from the middle of up to 64 of its tensors. Made to
/// notice mistakes (another quantisation, another fine-tune, a copy that was cut), not malice:
/// whoever can write the file on a worker could change the worker itself.
Digest fingerprint(const model::gguf::Gguf& file);

}  // namespace potluck::weights
