// A decode step allocates nothing.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/counting_new.h"
#include "tests/unit/engine/support.h"

namespace potluck::engine {
namespace {

using test::must;

/// Two sequences that go on, one with log-probabilities; their batch is made once.
struct Decoding {
    explicit Decoding(Shard& s, const std::vector<TokenId>& prompt) : shard(s) {
        Batch first;
        for (const SeqId seq : {SeqId(1), SeqId(2)}) {
            first.operations.push_back(
                {.kind = OperationKind::kOpen, .seq = seq, .sampler = lively_sampler(seq.value)});
            for (std::size_t i = 0; i < prompt.size(); ++i)
                first.rows.push_back({.seq = seq,
                                      .position = static_cast<std::uint32_t>(i),
                                      .token = prompt[i],
                                      .logprobs = kNoLogprobs});
        }
        must(shard.run(first, {}, {}, result));
        const auto position = static_cast<std::uint32_t>(prompt.size());
        batch.rows = {{.seq = SeqId(1),
                       .position = position,
                       .token = 5,
                       .flags = kRowSample,
                       .logprobs = kNoLogprobs},
                      {.seq = SeqId(2),
                       .position = position,
                       .token = 6,
                       .flags = kRowSample,
                       .logprobs = 5}};
    }
    bool step() {
        if (!shard.run(batch, {}, {}, result) || result.rows.size() != 2) return false;
        for (std::size_t i = 0; i < 2; ++i) {
            ++batch.rows[i].position;
            batch.rows[i].token = result.rows[i].token;
        }
        ++batch.id.value;
        return true;
    }

    Shard& shard;
    Batch batch;
    StepResult result;
};

TEST(Allocation, TheCounterCounts) {
    const auto before = allocations();
    const std::vector<int> something(100);
    EXPECT_EQ(allocations() - before, 1U) << something.size();
}

TEST(Allocation, NoDecodeStepAllocates) {
    for (const std::string name : {"llama-F32", "qwen2-Q4_0", "qwen3-Q8_0"})
        for (const auto isa : {kernels::cpu::Isa::kScalar, kernels::cpu::available_isas().back()})
            for (const std::size_t threads : {1U, 2U}) {
                SCOPED_TRACE(name + " " + std::string(kernels::cpu::to_string(isa)));
                const auto model = load_named(name);
                const auto device = make_device({.isa = isa, .threads = threads});
                ShardOptions options;
                options.part = {.begin = 0, .end = 3, .embedding = true, .head = true};
                options.max_length = 256;
                options.max_rows = 64;
                const auto shard =
                    must(Shard::load(model.file, model.description, *device, options));
                Decoding decoding(*shard, random_tokens(model, 1, 20));
                bool good = true;
                for (int i = 0; i < 3; ++i)
                    good = good && decoding.step();
                const auto before = allocations();
                for (int i = 0; i < 120; ++i)  // over two page borders
                    good = good && decoding.step();
                EXPECT_EQ(allocations() - before, 0U);
                EXPECT_TRUE(good);
            }
}

}  // namespace
}  // namespace potluck::engine
