#include "coordinator/simulate/scheduler_parts.h"

#include <fmt/format.h>

#include <array>
#include <string>

#include "model/gguf/gguf.h"
#include "model/gguf/writer.h"

namespace potluck::simulate {
namespace {

/// Until a stage is measured; the probe comes before the first batch.
constexpr nanoseconds kGuessedStep = std::chrono::milliseconds(10);
constexpr nanoseconds kGuessedRow = std::chrono::milliseconds(1);
/// Rows of one new sequence.
constexpr std::array<std::uint32_t, 3> kProbedRows = {1, 8, 64};
constexpr std::int32_t kNormal = 1, kUnknown = 2;  ///< tokenizer.ggml.token_type

}  // namespace

Result<std::shared_ptr<const model::Tokenizer>> simulated_tokenizer(std::size_t words) {
    std::vector<std::string> texts{"<unk>"};
    std::vector<std::int32_t> types{kUnknown};
    // The last one ends answers; no run draws it.
    for (std::size_t i = 1; i <= words; ++i) {
        texts.push_back(fmt::format("w{}", i));
        types.push_back(kNormal);
    }
    model::gguf::GgufWriter writer;
    writer.add("tokenizer.ggml.model", std::string("llama"));
    writer.add("tokenizer.ggml.tokens", texts);
    writer.add("tokenizer.ggml.scores", std::vector<float>(texts.size(), 0.F));
    writer.add("tokenizer.ggml.token_type", types);
    if (words > 0) writer.add("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(words));
    POTLUCK_ASSIGN(const auto bytes, writer.to_bytes());
    POTLUCK_ASSIGN(const auto file, model::gguf::Gguf::parse(bytes, "simulated vocabulary"));
    return model::Tokenizer::load(*file);
}

std::vector<coordinator::StageCost> first_costs(const PipelineModel& model) {
    std::vector<coordinator::StageCost> costs;
    const std::size_t stages = model.stages.size();
    for (std::size_t i = 0; i < stages; ++i) {
        const bool last = i + 1 == stages;
        costs.push_back(
            {.curve = coordinator::CostCurve(kGuessedStep, kGuessedRow),
             .hop = model.links[i + 1].delay + (last ? model.links[0].delay : nanoseconds()),
             .hop_per_row = model.wire_time_per_row(i + 1)});
    }
    return costs;
}

void probe(const PipelineModel& model, std::size_t max_rows, coordinator::Scheduler& scheduler) {
    for (std::uint32_t stage = 0; stage < model.stages.size(); ++stage) {
        for (const std::uint32_t rows : kProbedRows) {
            if (rows > max_rows) continue;
            const std::uint64_t keys = std::uint64_t{rows} * (rows + 1) / 2;
            scheduler.observe(
                StageIndex(stage),
                {.rows = rows, .keys = keys, .time = model.stages[stage].time(rows, keys)});
        }
    }
}

}  // namespace potluck::simulate
