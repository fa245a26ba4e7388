// What each KV type costs: perplexity of the trained models on a fixed text beside that of f16. The
// bounds are near what was measured (docs/accuracy.md), so that a type that gets worse shows.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/portable_math.h"
#include "engine/local_runner.h"
#include "kernels/cpu/cpu_device.h"
#include "model/tokenizer/tokenizer.h"
#include "recorded.h"

namespace potluck::golden {
namespace {

constexpr std::size_t kWindow = 512;

/// Log-probabilities of what comes next, where `potluck perplexity` counts them: in the second half
/// of each window.
std::vector<double> predictions(const engine::OpenModel& model, const std::vector<TokenId>& tokens,
                                const KvTypes& kv) {
    const auto device = kernels::cpu::make_cpu_device({});
    EXPECT_TRUE(device);
    const auto runner = engine::LocalRunner::load(model, **device, {.context = kWindow, .kv = kv});
    EXPECT_TRUE(runner);
    std::vector<double> all;
    for (std::size_t begin = 0; begin + kWindow <= tokens.size(); begin += kWindow) {
        const auto part = std::span(tokens).subspan(begin, kWindow);
        EXPECT_TRUE((*runner)->begin({}));
        EXPECT_TRUE((*runner)->feed_all(part, [&](const Row& row, std::span<const float> logits) {
            if (row.position < kWindow / 2 || row.position + 1 >= kWindow) return;
            const float peak = *std::max_element(logits.begin(), logits.end());
            double total = 0;
            for (const float x : logits)
                total += static_cast<double>(portable_exp(x - peak));
            const auto next = static_cast<std::size_t>(part[row.position + 1]);
            all.push_back(static_cast<double>(logits[next] - peak) - portable_log(total));
        }));
    }
    return all;
}

double perplexity(const std::vector<double>& predicted) {
    double sum = 0;
    for (const double p : predicted)
        sum -= p;
    return std::exp(sum / static_cast<double>(predicted.size()));
}

/// Root mean square of the differences.
double distance(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return std::sqrt(sum / static_cast<double>(a.size()));
}

struct Cost {
    const char* types;
    double percent;   ///< that perplexity may be higher than with f16
    double distance;  ///< of the log-probabilities from those of f16
};
constexpr Cost kMost[] = {
    {"bf16", 0.3, 0.04},          {"q8_0", 0.3, 0.045}, {"q5_0", 0.5, 0.12},
    {"k=q8_0,v=q4_0", 0.8, 0.17}, {"q4_0", 1.5, 0.24},  {"turbo3", 7, 0.45},
};

void compare_types(const std::filesystem::path& path, const engine::OpenModel& model,
                   const std::vector<TokenId>& tokens) {
    ASSERT_GE(tokens.size(), 2 * kWindow);
    const auto plain = predictions(model, tokens, {});
    std::printf("%s: f16 %.4f\n", path.filename().c_str(), perplexity(plain));
    for (const Cost& most : kMost) {
        const auto types = parse_kv_types(most.types);
        ASSERT_TRUE(types) << types.error().message;
        const auto stored = predictions(model, tokens, *types);
        ASSERT_EQ(stored.size(), plain.size());
        const double percent = 100 * (perplexity(stored) / perplexity(plain) - 1);
        const double far = distance(stored, plain);
        std::printf("%s: %s %.4f (%+.2f %%), distance %.4f\n", path.filename().c_str(), most.types,
                    perplexity(stored), percent, far);
        EXPECT_LT(percent, most.percent) << most.types;
        EXPECT_LT(far, most.distance) << most.types;
        EXPECT_GT(far, 0) << most.types << " changes nothing: is it used?";
    }
}

TEST(KvTypesPerplexity, OfTheUnquantisedModel) {
    const auto shared = shared_data();
    if (shared.empty())
        GTEST_SKIP() << "../shared/golden is not here: only the bundled model is measured";
    const auto path = shared / "models" / "tiny-coder-f16.gguf";
    const auto model = engine::open_model(path);
    ASSERT_TRUE(model) << model.error().message;
    const auto tokenizer = model::Tokenizer::load(*model->file);
    ASSERT_TRUE(tokenizer);
    std::ifstream in(shared / "golden" / "perplexity.txt", std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(in), {});
    compare_types(path, *model, (*tokenizer)->encode(text, false, true));
}

// On what it answered itself, recorded: its own greedy text is easy to predict, so the cost is
// lower.
TEST(KvTypesPerplexity, OfTheBundledModel) {
    const auto path = std::filesystem::path(POTLUCK_SOURCE_DIR) / "models/tiny-coder-q8_0.gguf";
    const auto model = engine::open_model(path);
    ASSERT_TRUE(model) << model.error().message;
    const auto answers = read_answers(own_data() / "greedy-tiny-coder-q8_0.json");
    ASSERT_TRUE(answers) << answers.error().message;
    std::vector<TokenId> tokens;
    for (const auto& answer : *answers) {
        tokens.insert(tokens.end(), answer.prompt_tokens.begin(), answer.prompt_tokens.end());
        for (const auto& step : answer.steps)
            tokens.push_back(step.id);
    }
    compare_types(path, *model, tokens);
}

}  // namespace
}  // namespace potluck::golden
