#pragma once

// Objects of random bytes.

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "weights/holder.h"
#include "weights/store.h"
#include "weights/tree.h"

namespace potluck::weights::test {

/// Bytes with their address.
struct Sample {
    std::vector<std::byte> bytes;
    std::vector<Digest> leaves;
    ObjectRef ref;

    std::span<const std::byte> chunk(std::uint64_t i) const {
        return std::span(bytes).subspan(i * kChunkBytes, chunk_size(bytes.size(), i));
    }
};

inline Sample make_sample(std::size_t size, std::uint64_t seed) {
    Sample sample;
    std::mt19937_64 random(seed);
    sample.bytes.resize(size);
    for (auto& b : sample.bytes)
        b = static_cast<std::byte>(random());
    for (std::uint64_t i = 0; i < chunk_count(size); ++i)
        sample.leaves.push_back(leaf_hash(sample.chunk(i)));
    sample.ref = {root_of(sample.leaves), size};
    return sample;
}

/// Takes all that is missing of it from the sample.
inline Status fill(StoredObject& object, const Sample& sample) {
    if (!object.complete() && !object.has_leaves()) POTLUCK_TRY(object.set_leaves(sample.leaves));
    for (std::uint64_t i = 0; i < object.chunks(); ++i)
        if (!object.has(i)) POTLUCK_TRY(object.write(i, sample.chunk(i)));
    return {};
}

}  // namespace potluck::weights::test
