// Feeds recorded tokens and compares our log-probabilities with the recorder's and with exact
// arithmetic at every position. The bounds are those that the recordings' README allows.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <ostream>
#include <string>

#include "base/portable_math.h"
#include "engine/local_runner.h"
#include "kernels/cpu/cpu_device.h"
#include "model/tokenizer/tokenizer.h"
#include "recorded.h"

namespace potluck::golden {
namespace {

struct Bounds {
    double exact_mean, exact_max, recorder_mean, recorder_max, gap;
};
void PrintTo(const Bounds& bounds, std::ostream* out) {
    *out << "gap " << bounds.gap;
}

/// From the recordings' README, by type of the file's matrices.
const std::map<std::string, Bounds> kBounds = {
    {"f16", {0.002, 0.05, 0.004, 0.08, 0.03}},    {"q8_0", {0.027, 0.40, 0.047, 0.60, 0.20}},
    {"q4_0", {0.027, 0.40, 0.047, 0.60, 0.20}},   {"q4_k_m", {0.044, 0.80, 0.070, 1.10, 0.30}},
    {"q5_k_m", {0.044, 0.80, 0.070, 1.10, 0.30}}, {"q6_k", {0.044, 0.80, 0.070, 1.10, 0.30}},
};

struct Model {
    std::unique_ptr<kernels::Device> device;
    engine::OpenModel open;
    std::shared_ptr<const model::Tokenizer> tokenizer;
    std::unique_ptr<engine::LocalRunner> runner;
};

Result<Model> load(const std::filesystem::path& path) {
    Model m;
    POTLUCK_ASSIGN(m.device, kernels::cpu::make_cpu_device({}));
    POTLUCK_ASSIGN(m.open, engine::open_model(path));
    POTLUCK_ASSIGN(m.tokenizer, model::Tokenizer::load(*m.open.file));
    POTLUCK_ASSIGN(m.runner, engine::LocalRunner::load(m.open, *m.device, {}));
    return m;
}

struct Spread {
    double sum = 0;
    double max = 0;
    std::size_t n = 0;
    void add(double difference) {
        sum += std::abs(difference);
        max = std::max(max, std::abs(difference));
        ++n;
    }
    double mean() const { return sum / static_cast<double>(n); }
};

double log_sum_exp(std::span<const float> logits) {
    const float peak = *std::max_element(logits.begin(), logits.end());
    double total = 0;
    for (const float x : logits)
        total += static_cast<double>(portable_exp(x - peak));
    return static_cast<double>(peak) + portable_log(total);
}

/// How far we are from exact arithmetic and from the recorder, over all positions of a model.
struct Distances {
    Spread to_exact, to_recorder;
};

void compare_teacher_forced(Model& m, const std::filesystem::path& recording, const Bounds& bounds,
                            Distances& distances) {
    auto& [to_exact, to_recorder] = distances;
    auto answers = read_answers(recording);
    ASSERT_TRUE(answers) << answers.error().message;
    ASSERT_FALSE(answers->empty());
    for (const auto& answer : *answers) {
        EXPECT_EQ(m.tokenizer->encode(answer.prompt, false, true), answer.prompt_tokens);
        std::vector<TokenId> tokens = answer.prompt_tokens;
        for (const auto& step : answer.steps)
            tokens.push_back(step.id);
        tokens.pop_back();  // the last one is only looked at
        ASSERT_TRUE(m.runner->begin({}));
        const std::size_t first = answer.prompt_tokens.size() - 1;
        const auto observe = [&](const Row& row, std::span<const float> logits) {
            if (row.position < first) return;
            const auto& step = answer.steps[row.position - first];
            const double log_sum = log_sum_exp(logits);
            for (std::size_t i = 0; i < 5; ++i) {
                const auto id = static_cast<std::size_t>(step.top[i].token);
                const double ours = static_cast<double>(logits[id]) - log_sum;
                to_exact.add(ours - static_cast<double>(step.exact[i]));
                to_recorder.add(ours - static_cast<double>(step.top[i].logprob));
            }
            const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
            if (static_cast<double>(step.gap()) >= bounds.gap) {
                EXPECT_EQ(best, step.top[0].token) << recording.filename() << " position "
                                                   << row.position << ", gap " << step.gap();
            }
        };
        const auto fed = m.runner->feed_all(tokens, observe);
        ASSERT_TRUE(fed) << fed.error().message;
    }
}

void expect_within(const std::string& name, const Distances& d, const Bounds& bounds) {
    std::printf(
        "%s: %zu values; against exact mean %.4f max %.3f; against the recorder mean %.4f "
        "max %.3f\n",
        name.c_str(), d.to_exact.n, d.to_exact.mean(), d.to_exact.max, d.to_recorder.mean(),
        d.to_recorder.max);
    EXPECT_LE(d.to_exact.mean(), bounds.exact_mean);
    EXPECT_LE(d.to_exact.max, bounds.exact_max);
    EXPECT_LE(d.to_recorder.mean(), bounds.recorder_mean);
    EXPECT_LE(d.to_recorder.max, bounds.recorder_max);
}

/// Greedy answers without help, compared up to the first step whose gap is below the
/// threshold.
void compare_free_running(Model& m, const std::filesystem::path& recording, const Bounds& bounds) {
    auto answers = read_answers(recording);
    ASSERT_TRUE(answers) << answers.error().message;
    std::size_t compared = 0;
    for (const auto& answer : *answers) {
        std::size_t sure = 0;
        while (sure < answer.steps.size() &&
               static_cast<double>(answer.steps[sure].gap()) >= bounds.gap)
            ++sure;
        if (sure == 0) continue;
        std::vector<TokenId> made;
        ASSERT_TRUE(m.runner->begin({}));
        ASSERT_TRUE(m.runner->generate(answer.prompt_tokens, sure, [&](TokenId token) {
            made.push_back(token);
            return true;
        }));
        for (std::size_t i = 0; i < sure; ++i) {
            ASSERT_EQ(made[i], answer.steps[i].id) << recording.filename() << " step " << i;
        }
        compared += sure;
    }
    std::printf("%s: %zu free-running tokens equal\n", recording.filename().c_str(), compared);
    EXPECT_GT(compared, 0U);
}

class Recordings : public testing::TestWithParam<std::pair<const std::string, Bounds>> {};

TEST_P(Recordings, OfEveryQuantisation) {
    const auto shared = shared_data();
    if (shared.empty())
        GTEST_SKIP() << "../shared/golden is not here: only the project's own recordings "
                        "are compared";
    const auto& [type, bounds] = GetParam();
    auto m = load(shared / "models" / ("tiny-coder-" + type + ".gguf"));
    ASSERT_TRUE(m) << m.error().message;
    Distances distances;
    for (const std::string kind : {"edit", "fresh"}) {
        const auto file = shared / "golden" / ("greedy-tiny-coder-" + type + "-" + kind + ".json");
        compare_teacher_forced(*m, file, bounds, distances);
        compare_free_running(*m, file, bounds);
    }
    expect_within(type, distances, bounds);
}

INSTANTIATE_TEST_SUITE_P(Golden, Recordings, testing::ValuesIn(kBounds.begin(), kBounds.end()),
                         [](const auto& entry) { return entry.param.first; });

TEST(OwnRecordings, OfTheBundledModel) {
    auto m = load(std::filesystem::path(POTLUCK_SOURCE_DIR) / "models/tiny-coder-q8_0.gguf");
    ASSERT_TRUE(m) << m.error().message;
    Distances distances;
    compare_teacher_forced(*m, own_data() / "greedy-tiny-coder-q8_0.json", kBounds.at("q8_0"),
                           distances);
    expect_within("bundled", distances, kBounds.at("q8_0"));
    compare_free_running(*m, own_data() / "greedy-tiny-coder-q8_0.json", kBounds.at("q8_0"));
}

}  // namespace
}  // namespace potluck::golden
