// Makes tiny models of random weights in memory: every architecture that we run, any float type and
// the simple quantised ones. What a test wants odd, it replaces or leaves out by name.

#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/portable_math.h"
#include "base/result.h"
#include "base/rng.h"
#include "base/tensor_type.h"
#include "model/gguf/gguf.h"
#include "model/gguf/writer.h"

namespace potluck::test {

/// The value, or the end of the test program with the error's message.
template <typename T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "unexpected error: %s\n", result.error().message.c_str());
        std::abort();
    }
    return std::move(*result);
}
inline void must(Status status) {
    if (status) return;
    std::fprintf(stderr, "unexpected error: %s\n", status.error().message.c_str());
    std::abort();
}

struct TinyTensor {
    TensorType type = TensorType::kF32;
    std::vector<std::uint64_t> dims;
    std::vector<float> values;  ///< before they are rounded to the type
};

struct TinySpec {
    std::string architecture = "llama";
    std::uint32_t layers = 3;
    std::uint32_t width = 64;
    std::uint32_t ffn_width = 96;
    std::uint32_t heads = 4;
    std::uint32_t kv_heads = 2;
    std::uint32_t head_dim = 16;  ///< written as key_length unless it is width / heads
    std::uint32_t n_rot = 0;      ///< 0: the whole head, and no key
    std::uint32_t context = 1024;
    std::uint32_t vocabulary = 300;
    std::uint32_t padding = 0;  ///< rows of embedding and head beyond the vocabulary
    float rms_epsilon = 1e-5F;
    TensorType matrices = TensorType::kF32;
    TensorType embedding = TensorType::kF32;
    TensorType vectors = TensorType::kF32;
    bool tied = false;
    std::uint64_t seed = 1;

    std::map<std::string, model::gguf::WriterValue> keys;  ///< replaced or added
    std::map<std::string, TinyTensor> tensors;             ///< replaced or added
    std::set<std::string> without;                         ///< keys and tensors that are left out
};

struct TinyModel {
    TinySpec spec;
    std::map<std::string, TinyTensor> tensors;
    std::shared_ptr<const std::vector<std::byte>> bytes;  ///< of the file; `file` points into it
    std::shared_ptr<const model::gguf::Gguf> file;
};

namespace tiny {

template <typename T>
void put(std::vector<std::byte>& to, T value) {
    const auto at = to.size();
    to.resize(at + sizeof(T));
    std::memcpy(to.data() + at, &value, sizeof(T));
}

/// One block of 32 values with one f16 scale; `largest` is 127 (Q8_0) or 7 (Q4_0).
inline void put_block(std::vector<std::byte>& to, std::span<const float> x, int largest) {
    float peak = 0;
    for (const float v : x)
        peak = std::max(peak, std::abs(v));
    const std::uint16_t half = float_to_half(peak / static_cast<float>(largest));
    const float d = half_to_float(half);
    const auto level = [&](std::size_t i) {
        const long q = d > 0 ? std::lround(x[i] / d) : 0;
        return static_cast<int>(std::clamp<long>(q, -largest, largest));
    };
    put(to, half);
    if (largest == 127) {
        for (std::size_t i = 0; i < 32; ++i)
            put(to, static_cast<std::int8_t>(level(i)));
        return;
    }
    for (std::size_t i = 0; i < 16; ++i)
        put(to, static_cast<std::uint8_t>((level(i) + 8) | (level(i + 16) + 8) << 4));
}

/// The bytes of a tensor; types that we do not encode are zeros of the right size.
inline std::vector<std::byte> encode(const TinyTensor& tensor) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < tensor.values.size(); ++i) {
        const float x = tensor.values[i];
        switch (tensor.type) {
            case TensorType::kF32:
                put(bytes, x);
                break;
            case TensorType::kF16:
                put(bytes, float_to_half(x));
                break;
            case TensorType::kBF16:
                put(bytes, static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16));
                break;
            case TensorType::kQ8_0:
            case TensorType::kQ4_0:
                if (i % 32 == 0)
                    put_block(bytes, std::span(tensor.values).subspan(i, 32),
                              tensor.type == TensorType::kQ8_0 ? 127 : 7);
                break;
            default: {
                const auto& type = info(tensor.type);
                if (i % type.block_elements == 0) bytes.resize(bytes.size() + type.block_bytes);
            }
        }
    }
    return bytes;
}

/// Random values around `middle`, of which each name has its own.
inline TinyTensor random_tensor(const std::string& name, std::uint64_t seed, TensorType type,
                                std::vector<std::uint64_t> dims, float middle, float spread) {
    TinyTensor tensor{type, std::move(dims), {}};
    std::size_t n = 1;
    for (const auto d : tensor.dims)
        n *= d;
    std::uint64_t stream = seed;
    for (const char c : name)
        stream = stream * 131 + static_cast<unsigned char>(c);
    for (std::size_t i = 0; i < n; ++i) {
        const auto u = static_cast<float>(uniform(stream, i));
        tensor.values.push_back(middle + spread * (2 * u - 1));
    }
    return tensor;
}

inline std::map<std::string, TinyTensor> make_tensors(const TinySpec& s) {
    std::map<std::string, TinyTensor> all;
    const auto matrix = [&](const std::string& name, TensorType type, std::uint64_t columns,
                            std::uint64_t rows) {
        const float spread = 1.7F / std::sqrt(static_cast<float>(columns));
        all[name] = random_tensor(name, s.seed, type, {columns, rows}, 0, spread);
    };
    const auto vector = [&](const std::string& name, std::uint64_t n, float middle) {
        all[name] = random_tensor(name, s.seed, s.vectors, {n}, middle, 0.4F);
    };
    const std::uint64_t q_width = std::uint64_t{s.heads} * s.head_dim;
    const std::uint64_t kv_width = std::uint64_t{s.kv_heads} * s.head_dim;
    const std::uint64_t rows = std::uint64_t{s.vocabulary} + s.padding;
    matrix("token_embd.weight", s.embedding, s.width, rows);
    if (!s.tied) matrix("output.weight", s.matrices, s.width, rows);
    vector("output_norm.weight", s.width, 1);
    for (std::uint32_t layer = 0; layer < s.layers; ++layer) {
        const std::string b = "blk." + std::to_string(layer) + ".";
        vector(b + "attn_norm.weight", s.width, 1);
        vector(b + "ffn_norm.weight", s.width, 1);
        matrix(b + "attn_q.weight", s.matrices, s.width, q_width);
        matrix(b + "attn_k.weight", s.matrices, s.width, kv_width);
        matrix(b + "attn_v.weight", s.matrices, s.width, kv_width);
        matrix(b + "attn_output.weight", s.matrices, q_width, s.width);
        matrix(b + "ffn_gate.weight", s.matrices, s.width, s.ffn_width);
        matrix(b + "ffn_up.weight", s.matrices, s.width, s.ffn_width);
        matrix(b + "ffn_down.weight", s.matrices, s.ffn_width, s.width);
        if (s.architecture == "qwen2") {
            vector(b + "attn_q.bias", q_width, 0);
            vector(b + "attn_k.bias", kv_width, 0);
            vector(b + "attn_v.bias", kv_width, 0);
        }
        if (s.architecture == "qwen3") {
            vector(b + "attn_q_norm.weight", s.head_dim, 1);
            vector(b + "attn_k_norm.weight", s.head_dim, 1);
        }
    }
    return all;
}

/// A SentencePiece-like vocabulary: unknown, begin, end, the 256 bytes, then words.
inline void add_vocabulary(std::map<std::string, model::gguf::WriterValue>& keys,
                           std::uint32_t size) {
    std::vector<std::string> texts;
    std::vector<float> scores;
    std::vector<std::int32_t> kinds;
    for (std::uint32_t i = 0; i < size; ++i) {
        char byte[8];
        std::snprintf(byte, sizeof byte, "<0x%02X>", (i - 3) & 0xFFU);
        const bool is_byte = i >= 3 && i < 259;
        texts.push_back(i == 0    ? "<unk>"
                        : i == 1  ? "<s>"
                        : i == 2  ? "</s>"
                        : is_byte ? byte
                                  : "word" + std::to_string(i));
        scores.push_back(-static_cast<float>(i));
        kinds.push_back(i == 0 ? 2 : i < 3 ? 3 : is_byte ? 6 : 1);
    }
    keys["tokenizer.ggml.model"] = std::string("llama");
    keys["tokenizer.ggml.tokens"] = std::move(texts);
    keys["tokenizer.ggml.scores"] = std::move(scores);
    keys["tokenizer.ggml.token_type"] = std::move(kinds);
    keys["tokenizer.ggml.bos_token_id"] = std::uint32_t{1};
    keys["tokenizer.ggml.eos_token_id"] = std::uint32_t{2};
}

inline std::map<std::string, model::gguf::WriterValue> make_keys(const TinySpec& s) {
    std::map<std::string, model::gguf::WriterValue> keys;
    const std::string a = s.architecture + ".";
    keys["general.architecture"] = s.architecture;
    keys["general.name"] = "tiny " + s.architecture;
    keys[a + "block_count"] = s.layers;
    keys[a + "embedding_length"] = s.width;
    keys[a + "feed_forward_length"] = s.ffn_width;
    keys[a + "context_length"] = s.context;
    keys[a + "attention.head_count"] = s.heads;
    keys[a + "attention.head_count_kv"] = s.kv_heads;
    keys[a + "attention.layer_norm_rms_epsilon"] = s.rms_epsilon;
    if (s.head_dim * s.heads != s.width) {
        keys[a + "attention.key_length"] = s.head_dim;
        keys[a + "attention.value_length"] = s.head_dim;
    }
    if (s.n_rot != 0) keys[a + "rope.dimension_count"] = s.n_rot;
    add_vocabulary(keys, s.vocabulary);
    return keys;
}

}  // namespace tiny

inline TinyModel make_tiny_model(TinySpec spec) {
    auto keys = tiny::make_keys(spec);
    auto tensors = tiny::make_tensors(spec);
    for (const auto& [key, value] : spec.keys)
        keys[key] = value;
    for (const auto& [name, tensor] : spec.tensors)
        tensors[name] = tensor;
    for (const auto& name : spec.without) {
        keys.erase(name);
        tensors.erase(name);
    }
    model::gguf::GgufWriter writer;
    for (const auto& [key, value] : keys)
        writer.add(key, value);
    for (const auto& [name, tensor] : tensors)
        writer.add_tensor(name, tensor.type, tensor.dims, tiny::encode(tensor));
    auto bytes = std::make_shared<const std::vector<std::byte>>(must(writer.to_bytes()));
    auto file = must(model::gguf::Gguf::parse(*bytes, "tiny-" + spec.architecture));
    return {std::move(spec), std::move(tensors), std::move(bytes), std::move(file)};
}

}  // namespace potluck::test
