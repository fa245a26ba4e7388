// The split never changes the answer: the same bits and the same tokens however rows come in
// batches, at any thread count, on any instruction set, on a device that executes late, and cut
// into any shards.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

constexpr SeqId kSeq{7};

class Equality : public ::testing::TestWithParam<std::string> {
  protected:
    void SetUp() override {
        // Enough for three pages; the bundled model is larger and two will do.
        const std::size_t n = GetParam() == "tiny-coder" ? 70 : 150;
        tokens_ = random_tokens(model_, 5, n);
        reference_ = fresh(model_, tokens_, sampler_);
        ASSERT_EQ(reference_.size(), n);
    }
    std::string against_reference(const DeviceChoice& choice, std::size_t chunk,
                                  const std::vector<LayerIndex>& cuts = {}) {
        const auto device = make_device(choice);
        Chain chain(model_, *device, {}, cuts);
        must(chain.open(kSeq, sampler_));
        must(chain.feed(kSeq, tokens_, chunk));
        return difference(chain.seen(kSeq), reference_);
    }

    LoadedModel model_ = load_named(GetParam());
    SamplerSpec sampler_ = lively_sampler(99);
    std::vector<TokenId> tokens_;
    Outcomes reference_;
};

TEST_P(Equality, AnyChunk) {
    for (const std::size_t chunk : {1U, 7U, 64U})
        EXPECT_EQ(against_reference({}, chunk), "") << "chunks of " << chunk;
}

TEST_P(Equality, AnyThreadCount) {
    for (const std::size_t threads : {2U, 3U})
        for (const std::size_t chunk : {5U, 512U})
            EXPECT_EQ(against_reference({.threads = threads}, chunk), "") << threads << " threads";
}

TEST_P(Equality, AnyInstructionSet) {
    for (const auto isa : kernels::cpu::available_isas())
        EXPECT_EQ(against_reference({.isa = isa}, 40), "") << kernels::cpu::to_string(isa);
}

TEST_P(Equality, DeferredDevice) {
    EXPECT_EQ(against_reference({.deferred = true}, 50), "");
    EXPECT_EQ(against_reference({.deferred = true}, 50, {1}), "");
}

TEST_P(Equality, AnySplit) {
    const auto last = model_.description.config.n_layers;
    EXPECT_EQ(against_reference({}, 30, {1}), "");
    EXPECT_EQ(against_reference({}, 30, {last - 1}), "");
    EXPECT_EQ(against_reference({}, 30, {1, 2}), "");
    // Stages without layers: embedding alone, one that passes on, head alone.
    EXPECT_EQ(against_reference({}, 30, {0, 1, 1, last}), "");
}

TEST_P(Equality, StrangersInTheBatch) {
    constexpr std::size_t kSequences = 8;
    const auto device = make_device();
    Chain chain(model_, *device);
    std::vector<std::vector<TokenId>> tokens;
    for (std::size_t s = 0; s < kSequences; ++s) {
        tokens.push_back(random_tokens(model_, 50 + s, 10 + 9 * s));
        must(chain.open(SeqId(s), lively_sampler(s)));
    }
    // Every batch has a few rows of each sequence that has any left; sequence s takes s % 4 + 1,
    // now in one run and now one at a time between those of the others.
    std::vector<std::size_t> fed(kSequences, 0);
    for (bool more = true; more;) {
        more = false;
        Batch batch;
        std::vector<std::vector<Row>> parts(kSequences);
        for (std::size_t s = 0; s < kSequences; ++s) {
            const auto n = std::min(s % 4 + 1, tokens[s].size() - fed[s]);
            parts[s] = chain.rows(SeqId(s), std::span(tokens[s]).subspan(fed[s], n));
            fed[s] += n;
            more = more || fed[s] < tokens[s].size();
        }
        if (fed[0] % 2 == 0) {
            for (const auto& part : parts)
                batch.rows.insert(batch.rows.end(), part.begin(), part.end());
        } else {
            for (std::size_t i = 0; i < 4; ++i)
                for (const auto& part : parts)
                    if (i < part.size()) batch.rows.push_back(part[i]);
        }
        must(chain.run(batch));
    }
    for (std::size_t s = 0; s < kSequences; ++s)
        EXPECT_EQ(difference(chain.seen(SeqId(s)), fresh(model_, tokens[s], lively_sampler(s))), "")
            << "sequence " << s;
}

INSTANTIATE_TEST_SUITE_P(Models, Equality, ::testing::ValuesIn(model_names()),
                         [](const auto& test) {
                             std::string name = test.param;
                             for (char& c : name)
                                 if (c == '-') c = '_';
                             return name;
                         });

}  // namespace
}  // namespace potluck::engine
