#include "tests/unit/engine/support.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/rng.h"
#include "kernels/deferred/deferred_device.h"

namespace potluck::engine {

using test::must;

namespace {

LoadedModel described(std::shared_ptr<const model::gguf::Gguf> file) {
    LoadedModel model;
    model.description = must(model::describe(*file, model::arch::architectures()));
    model.file = std::move(file);
    return model;
}

}  // namespace

LoadedModel load_tiny(const test::TinySpec& spec) {
    auto tiny = test::make_tiny_model(spec);
    LoadedModel model = described(tiny.file);
    model.tiny = std::move(tiny);
    return model;
}

LoadedModel load_named(const std::string& name) {
    if (name == "tiny-coder") {
        return described(
            must(model::gguf::Gguf::open(POTLUCK_SOURCE_DIR "/models/tiny-coder-q8_0.gguf")));
    }
    const auto dash = name.find('-');
    test::TinySpec spec;
    spec.architecture = name.substr(0, dash);
    spec.matrices = *parse_tensor_type(name.substr(dash + 1));
    spec.embedding = spec.matrices;
    spec.tied = spec.architecture == "qwen3";
    spec.padding = 4;
    return load_tiny(spec);
}

std::vector<std::string> model_names() {
    return {"llama-F32", "llama-Q8_0", "qwen2-Q4_0", "qwen2-BF16",
            "qwen3-F16", "qwen3-Q8_0", "tiny-coder"};
}

std::unique_ptr<kernels::Device> make_device(const DeviceChoice& choice) {
    auto device =
        must(kernels::cpu::make_cpu_device({.threads = choice.threads, .isa = choice.isa}));
    if (!choice.deferred) return device;
    return must(kernels::deferred::make_deferred_device(std::move(device)));
}

std::vector<TokenId> random_tokens(const LoadedModel& model, std::uint64_t seed, std::size_t n) {
    std::vector<TokenId> tokens;
    for (std::size_t i = 0; i < n; ++i)
        tokens.push_back(
            static_cast<TokenId>(uniform(seed, i) * model.description.config.vocabulary));
    return tokens;
}

SamplerSpec lively_sampler(std::uint64_t seed) {
    SamplerSpec spec{.seed = seed, .temperature = 1.5F, .top_k = 50, .top_p = 0.98F};
    spec.repetition_penalty = 1.5F;
    spec.frequency_penalty = 0.3F;
    spec.logit_bias = {{3, 1.0F}};
    return spec;
}

std::string difference(const Outcomes& a, const Outcomes& b, std::uint32_t from) {
    if (a.empty() || b.empty()) return "nothing to compare";
    std::uint32_t end = from;
    for (const auto* side : {&a, &b})
        end = std::max(end, side->rbegin()->first + 1);
    for (std::uint32_t position = from; position < end; ++position) {
        const auto where = " at position " + std::to_string(position);
        if (!a.contains(position) || !b.contains(position)) return "nothing" + where;
        const auto& x = a.at(position);
        const auto& y = b.at(position);
        if (x.logits.size() != y.logits.size() || x.logits.empty()) return "widths differ" + where;
        if (std::memcmp(x.logits.data(), y.logits.data(), x.logits.size() * sizeof(float)) != 0)
            return "logits differ" + where;
        if (x.token != y.token) return "tokens differ" + where;
    }
    return end > from ? "" : "nothing to compare";
}

Chain::Chain(const LoadedModel& model, kernels::Device& device, ShardOptions options,
             std::vector<LayerIndex> cuts, WeightPool* pool)
    : width_(model.description.config.width) {
    cuts.push_back(model.description.config.n_layers);
    LayerIndex begin = 0;
    for (std::size_t i = 0; i < cuts.size(); ++i) {
        options.part = {
            .begin = begin, .end = cuts[i], .embedding = i == 0, .head = i + 1 == cuts.size()};
        shards_.push_back(
            must(Shard::load(model.file, model.description, device, options, {}, pool)));
        begin = cuts[i];
    }
    shards_.back()->observe_logits([this](const Row& row, std::span<const float> logits) {
        seen_[row.seq.value][row.position].logits.assign(logits.begin(), logits.end());
    });
}

Status Chain::run(const Batch& batch) {
    std::vector<float> activations;
    for (std::size_t i = 0; i < shards_.size(); ++i) {
        const bool last = i + 1 == shards_.size();
        std::vector<float> output(last ? 0 : batch.rows.size() * width_);
        POTLUCK_TRY(shards_[i]->run(batch, activations, output, result_));
        activations = std::move(output);
    }
    for (const auto& row : result_.rows)
        seen_[row.seq.value][row.position].token = row.token;
    return {};
}

Status Chain::apply(std::vector<Operation> operations) {
    Batch batch;
    batch.operations = std::move(operations);
    return run(batch);
}

Status Chain::open(SeqId seq, const SamplerSpec& sampler) {
    return apply({{.kind = OperationKind::kOpen, .seq = seq, .sampler = sampler}});
}

std::vector<Row> Chain::rows(SeqId seq, std::span<const TokenId> tokens) const {
    std::vector<Row> rows;
    for (const TokenId token : tokens) {
        rows.push_back({.seq = seq,
                        .position = length(seq) + static_cast<std::uint32_t>(rows.size()),
                        .token = token,
                        .flags = kRowSample,
                        .logprobs = kNoLogprobs});
    }
    return rows;
}

Status Chain::feed(SeqId seq, std::span<const TokenId> tokens, std::size_t chunk) {
    while (!tokens.empty()) {
        Batch batch;
        batch.rows = rows(seq, tokens.first(std::min(chunk, tokens.size())));
        tokens = tokens.subspan(batch.rows.size());
        POTLUCK_TRY(run(batch));
    }
    return {};
}

Outcomes fresh(const LoadedModel& model, std::span<const TokenId> tokens,
               const SamplerSpec& sampler) {
    const auto device = make_device();
    Chain chain(model, *device);
    must(chain.open(SeqId(1), sampler));
    must(chain.feed(SeqId(1), tokens));
    return chain.seen(SeqId(1));
}

}  // namespace potluck::engine
