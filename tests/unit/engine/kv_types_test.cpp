// Every KV type: the same bits and the same tokens however rows come in batches, at any thread
// count, on any instruction set, on a device that executes late, cut into any shards, and after a
// fork or a cut.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

constexpr SeqId kSeq{7};
constexpr std::size_t kTokens = 100;  // two pages

LoadedModel model_for(std::uint32_t head_dim) {
    return load_tiny({.architecture = "qwen3", .layers = 2, .head_dim = head_dim});
}

class KvTypesInShards : public ::testing::TestWithParam<KvTypes> {
  protected:
    ShardOptions options() const {
        ShardOptions o;
        o.kv = GetParam();
        return o;
    }
    Outcomes answer(const DeviceChoice& choice, std::size_t chunk,
                    const std::vector<LayerIndex>& cuts = {}) {
        const auto device = make_device(choice);
        Chain chain(model_, *device, options(), cuts);
        must(chain.open(kSeq, sampler_));
        must(chain.feed(kSeq, tokens_, chunk));
        return chain.seen(kSeq);
    }

    LoadedModel model_ = model_for(96);
    SamplerSpec sampler_ = lively_sampler(3);
    std::vector<TokenId> tokens_ = random_tokens(model_, 5, kTokens);
    Outcomes reference_ = answer({.isa = kernels::cpu::Isa::kScalar}, 1);
};

TEST_P(KvTypesInShards, AnyChunkThreadCountAndInstructionSet) {
    ASSERT_EQ(reference_.size(), kTokens);
    for (const auto isa : kernels::cpu::available_isas())
        for (const std::size_t threads : {1U, 2U, 3U})
            for (const std::size_t chunk : {1U, 7U, 64U, 512U}) {
                // The scalar set is slow and takes its rows as the others do.
                if (isa == kernels::cpu::Isa::kScalar && threads + chunk != 2 + 64) continue;
                ASSERT_EQ(difference(answer({.isa = isa, .threads = threads}, chunk), reference_),
                          "")
                    << kernels::cpu::to_string(isa) << ", " << threads << " threads, chunks of "
                    << chunk;
            }
}

TEST_P(KvTypesInShards, AnySplitAndTheDeferredDevice) {
    EXPECT_EQ(difference(answer({}, 30, {1}), reference_), "");
    EXPECT_EQ(difference(answer({.deferred = true}, 50), reference_), "");
    EXPECT_EQ(difference(answer({.threads = 2, .deferred = true}, 9, {1}), reference_), "");
}

TEST_P(KvTypesInShards, ForksAndCutsGoOnAsFreshOnes) {
    const auto device = make_device({.threads = 2});
    Chain chain(model_, *device, options());
    const SeqId fork(2);
    must(chain.open(kSeq, sampler_));
    must(chain.feed(kSeq, tokens_));
    // Within a page: the fork and the source copy it when they go on.
    must(chain.apply({{.kind = OperationKind::kOpen, .seq = fork, .sampler = sampler_},
                      {.kind = OperationKind::kFork, .seq = fork, .source = kSeq, .length = 70},
                      {.kind = OperationKind::kTruncate, .seq = kSeq, .length = 80}}));
    must(chain.feed(kSeq, std::span(tokens_).subspan(80), 3));
    must(chain.feed(fork, std::span(tokens_).subspan(70), 7));
    EXPECT_EQ(difference(chain.seen(kSeq), reference_), "");
    EXPECT_EQ(difference(chain.seen(fork), reference_, 70), "");
}

std::vector<KvTypes> all_pairs() {
    std::vector<KvTypes> pairs;
    for (const KvType type : kv_types())
        pairs.push_back({type, type});
    pairs.push_back({KvType::kQ8_0, KvType::kQ4_0});
    pairs.push_back({KvType::kTurbo3, KvType::kF16});
    return pairs;
}

INSTANTIATE_TEST_SUITE_P(Types, KvTypesInShards, ::testing::ValuesIn(all_pairs()),
                         [](const auto& test) {
                             return std::string(to_string(test.param.k)) + "_" +
                                    std::string(to_string(test.param.v));
                         });

TEST(KvTypesOfShards, TakeTheMemoryTheySay) {
    const auto model = model_for(96);
    const auto device = make_device();
    for (const KvType k : kv_types())
        for (const KvType v : kv_types()) {
            ShardOptions options{.part = {.begin = 0, .end = 1}, .kv_pages = 3, .kv = {k, v}};
            const auto shard = must(Shard::load(model.file, model.description, *device, options));
            EXPECT_EQ(shard->kv_bytes(),
                      3 * 64 * model::kv_bytes_per_token_layer(model.description.config, {k, v}));
            EXPECT_EQ(model::kv_bytes_per_token_layer(model.description.config, {k, v}),
                      2 * (kv_row_bytes(k, 96) + kv_row_bytes(v, 96)));
        }
}

TEST(KvTypesOfShards, HeadsThatDoNotFitAreRefusedBeforeLoading) {
    const auto model = model_for(48);
    const auto device = make_device();
    ShardOptions options{.part = {.begin = 0, .end = 1}, .kv = {KvType::kF16, KvType::kTurbo3}};
    bool loaded = false;
    const auto shard = Shard::load(model.file, model.description, *device, options,
                                   [&](std::uint64_t, std::uint64_t) { loaded = true; });
    ASSERT_FALSE(shard);
    EXPECT_EQ(shard.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(shard.error().message.find(
                  "KV type turbo3 needs heads of a multiple of 32 values, the model has 48"),
              std::string::npos)
        << shard.error().message;
    EXPECT_FALSE(loaded);
}

}  // namespace
}  // namespace potluck::engine
