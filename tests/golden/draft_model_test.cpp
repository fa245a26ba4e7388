// Draft models on answers that a real model gave: the bundled model for itself, and a smaller one
// that was trained on the same text.

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "coordinator/speculate/speculator.h"
#include "engine/local_runner.h"
#include "kernels/cpu/cpu_device.h"
#include "model/tokenizer/same_vocabulary.h"
#include "tests/support/inline_draft_port.h"
#include "tests/support/replay.h"
#include "tests/support/tiny_model.h"

namespace potluck::coordinator {
namespace {

using test::must;

constexpr const char* kBundled = POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf";
constexpr std::size_t kTokens = 96;

struct Sum {
    std::uint64_t drafted = 0, accepted = 0;
    std::size_t tokens = 0, rounds = 0;
    double share() const { return static_cast<double>(accepted) / static_cast<double>(drafted); }
};

/// Greedy answers of the bundled model, with this one's drafts.
Sum drafts_of(const std::string& path) {
    const auto device = must(kernels::cpu::make_cpu_device({.threads = 1}));
    const auto model = must(engine::open_model(kBundled));
    const auto tokenizer = must(model::Tokenizer::load(*model.file));
    const auto draft_model = must(engine::open_model(path));
    must(
        model::check_same_vocabulary(*tokenizer, *must(model::Tokenizer::load(*draft_model.file))));
    const auto runner = must(engine::LocalRunner::load(model, *device, {}));
    const auto port = std::make_shared<InlineDraftPort>(
        must(DraftEngine::load(draft_model, *device, {.context = 2048})), 4);
    const auto speculation = make_speculator({.drafters = {.draft_model = port}});
    Sum sum;
    std::uint64_t number = 0;
    for (const char* text :
         {"import os\n", "def total(items, rate):\n    result = 0\n",
          "<|im_start|>user\nRename `items` to `things`:\n```python\ndef total(items, rate):\n"
          "    result = 0\n    for item in items:\n        result += item.price * rate\n"
          "    return result\n```<|im_end|>\n<|im_start|>assistant\n"}) {
        const auto prompt = tokenizer->encode(text, true, true);
        std::vector<TokenId> answer;
        must(runner->begin({}));
        must(runner->generate(prompt, kTokens, [&](TokenId token) {
            answer.push_back(token);
            return true;
        }));
        const auto r = replay(*speculation, ++number, TenantId{}, prompt, answer, "draft_model",
                              {.per_row = 0.02});
        sum.drafted += r.report.drafted;
        sum.accepted += r.report.accepted;
        sum.tokens += r.tokens;
        sum.rounds += r.rounds;
    }
    std::printf("%s: %llu of %llu drafted rows right, %.2f tokens a round\n", path.c_str(),
                static_cast<unsigned long long>(sum.accepted),
                static_cast<unsigned long long>(sum.drafted),
                static_cast<double>(sum.tokens) / static_cast<double>(sum.rounds));
    return sum;
}

TEST(DraftModels, TheModelItselfIsAlwaysRight) {
    const Sum sum = drafts_of(kBundled);
    EXPECT_GT(sum.drafted, 100U);
    // But for what the last round of each of the three answers drafts beyond its end.
    EXPECT_LE(sum.drafted, sum.accepted + 3 * 16);
}

TEST(DraftModels, ASmallerOneIsOftenRight) {
    const std::string path = POTLUCK_SOURCE_DIR "/../shared/models/tiny-coder-draft-q8_0.gguf";
    if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
    const Sum sum = drafts_of(path);
    EXPECT_GT(sum.drafted, 50U);
    EXPECT_GT(sum.share(), 0.3);
}

}  // namespace
}  // namespace potluck::coordinator
