// What a file may claim about itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "model/graph/architecture.h"
#include "tests/support/tiny_model.h"

namespace potluck::model {
namespace {

using test::make_tiny_model;
using test::TinySpec;
using ::testing::HasSubstr;

Result<ModelDescription> read(const TinySpec& spec) {
    const auto tiny = make_tiny_model(spec);
    return describe(*tiny.file, arch::architectures());
}

TEST(Config, ReadsWhatTheFileSays) {
    TinySpec spec;
    spec.head_dim = 24;
    spec.n_rot = 10;
    spec.padding = 20;
    for (const std::string name : {"llama", "qwen2", "qwen3"}) {
        spec.architecture = name;
        const auto model = read(spec);
        ASSERT_TRUE(model) << model.error().message;
        const auto& c = model->config;
        EXPECT_EQ(model->architecture->name, name);
        EXPECT_EQ(c.architecture, name);
        EXPECT_EQ(c.name, "tiny " + name);
        EXPECT_EQ(c.n_layers, 3U);
        EXPECT_EQ(c.width, 64U);
        EXPECT_EQ(c.ffn_width, 96U);
        EXPECT_EQ(c.heads, 4U);
        EXPECT_EQ(c.kv_heads, 2U);
        EXPECT_EQ(c.head_dim, 24U);
        EXPECT_EQ(c.context_length, 1024U);
        EXPECT_EQ(c.vocabulary, 300U);
        EXPECT_FLOAT_EQ(c.rms_epsilon, 1e-5F);
        EXPECT_EQ(c.rotary.inv_freq.size(), 5U);
        EXPECT_EQ(c.rotary.pairing,
                  name == "llama" ? RotaryPairing::kNeighbours : RotaryPairing::kHalves);
    }
}

TEST(Config, Defaults) {
    TinySpec spec;
    spec.without = {"llama.attention.head_count_kv", "general.name", "tokenizer.ggml.tokens"};
    spec.keys["llama.vocab_size"] = std::uint32_t{123};
    const auto model = read(spec);
    ASSERT_TRUE(model) << model.error().message;
    EXPECT_EQ(model->config.kv_heads, 4U);
    EXPECT_EQ(model->config.head_dim, 16U);
    EXPECT_EQ(model->config.rotary.inv_freq.size(), 8U);
    EXPECT_EQ(model->config.vocabulary, 123U);
    EXPECT_EQ(model->config.name, "");
}

struct BadConfig {
    std::string key;
    std::function<void(TinySpec&)> change;
    ErrorCode code;
    std::string message;  ///< what it must say besides the key
};

gguf::WriterValue u32(std::uint32_t value) {
    return value;
}

std::vector<BadConfig> bad_configs() {
    const auto set = [](std::string key, gguf::WriterValue value, ErrorCode code,
                        std::string message) {
        const auto change = [key, value](TinySpec& s) { s.keys[key] = value; };
        return BadConfig{key, change, code, std::move(message)};
    };
    const auto missing = [](std::string key) {
        const auto change = [key](TinySpec& s) { s.without.insert(key); };
        return BadConfig{key, change, ErrorCode::kNotFound, ""};
    };
    const auto corrupt = ErrorCode::kCorrupt;
    const std::string l = "llama.";
    return {
        missing("general.architecture"),
        missing(l + "block_count"),
        missing(l + "embedding_length"),
        missing(l + "feed_forward_length"),
        missing(l + "context_length"),
        missing(l + "attention.head_count"),
        missing(l + "attention.layer_norm_rms_epsilon"),
        {"llama.vocab_size", [](TinySpec& s) { s.without.insert("tokenizer.ggml.tokens"); },
         ErrorCode::kNotFound, ""},
        set("tokenizer.ggml.tokens", std::vector<std::string>{}, corrupt, "is empty"),
        set(l + "block_count", u32(0), corrupt, "is 0, expected 1 to 1024"),
        set(l + "block_count", u32(1025), corrupt, "is 1025"),
        set(l + "block_count", std::int32_t{-1}, corrupt, ""),
        set(l + "block_count", std::string("three"), corrupt, ""),
        set(l + "block_count", std::uint64_t{1} << 40, corrupt, ""),
        set(l + "embedding_length", u32(0), corrupt, "is 0"),
        set(l + "embedding_length", u32(66), corrupt, "66 is no multiple of 4 heads"),
        set(l + "embedding_length", u32(3), corrupt, "3 is no multiple of 4 heads"),
        set(l + "embedding_length", u32(kMaxWidth + 4), corrupt, "expected 1 to"),
        set(l + "feed_forward_length", u32(0), corrupt, "is 0"),
        set(l + "context_length", u32(0), corrupt, "is 0"),
        set(l + "context_length", u32(kMaxContext + 1), corrupt, "expected 1 to"),
        set(l + "attention.head_count", u32(0), corrupt, "is 0"),
        set(l + "attention.head_count", u32(5000), corrupt, "is 5000"),
        set(l + "attention.head_count_kv", u32(0), corrupt, "is 0"),
        set(l + "attention.head_count_kv", u32(3), corrupt, "3 does not divide the 4 heads"),
        set(l + "attention.head_count_kv", u32(8), corrupt, "8 does not divide the 4 heads"),
        set(l + "attention.key_length", u32(0), corrupt, "is 0"),
        set(l + "attention.layer_norm_rms_epsilon", 0.0F, corrupt, "not in (0, 1)"),
        set(l + "attention.layer_norm_rms_epsilon", -1e-5F, corrupt, "not in (0, 1)"),
        set(l + "attention.layer_norm_rms_epsilon", std::nanf(""), corrupt, "not in (0, 1)"),
        set(l + "rope.dimension_count", u32(7), corrupt, "7 is odd"),
        set(l + "rope.dimension_count", u32(0), corrupt, "is 0, expected 2 to 16"),
        set(l + "rope.dimension_count", u32(18), corrupt, "is 18, expected 2 to 16"),
        set(l + "rope.freq_base", 1.0F, corrupt, "expected more than 1"),
        set(l + "rope.freq_base", -5.0F, corrupt, "expected a positive number"),
        set(l + "rope.freq_base", std::nanf(""), corrupt, "expected a positive number"),
        set(l + "rope.scaling.factor", 0.0F, corrupt, "expected a positive number"),
        set(l + "rope.scaling.original_context_length", u32(0), corrupt, "is 0"),
    };
}

TEST(Config, OddValuesAreRefusedByKey) {
    for (const auto& bad : bad_configs()) {
        TinySpec spec;
        spec.layers = 1;
        bad.change(spec);
        const auto model = read(spec);
        ASSERT_FALSE(model) << bad.key << " " << bad.message;
        EXPECT_EQ(model.error().code, bad.code) << model.error().message;
        EXPECT_THAT(model.error().message, HasSubstr(bad.key));
        EXPECT_THAT(model.error().message, HasSubstr(bad.message));
    }
}

TEST(Config, WhatWeCannotRunIsRefusedByName) {
    TinySpec spec;
    spec.keys["llama.attention.value_length"] = std::uint32_t{8};
    auto model = read(spec);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(model.error().message, HasSubstr("values of 8 per head with keys of 16"));

    spec = {};
    spec.keys["llama.rope.scaling.type"] = std::string("longrope");
    model = read(spec);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(model.error().message, HasSubstr("'longrope'"));
    EXPECT_THAT(model.error().message, HasSubstr("none, linear, yarn"));

    spec = {};
    spec.keys["llama.expert_count"] = std::uint32_t{8};
    model = read(spec);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(model.error().message, HasSubstr("experts"));

    spec = {};
    spec.keys["general.architecture"] = std::string("mamba");
    model = read(spec);
    ASSERT_FALSE(model);
    EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(model.error().message, HasSubstr("'mamba'"));
    EXPECT_THAT(model.error().message, HasSubstr("supported: llama qwen2 qwen3"));
}

}  // namespace
}  // namespace potluck::model
