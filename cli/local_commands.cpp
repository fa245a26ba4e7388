// The commands that need no cluster: run, perplexity, tokenize, inspect.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>

#include "base/portable_math.h"
#include "cli/commands.h"
#include "cli/devices.h"
#include "cli/failure.h"
#include "cli/inspect.h"
#include "engine/local_runner.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::cli {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// A model in this process, with its device and tokenizer.
struct Local {
    std::vector<std::unique_ptr<kernels::Device>> devices;
    engine::OpenModel model;
    std::shared_ptr<const model::Tokenizer> tokenizer;
    std::unique_ptr<engine::LocalRunner> runner;
    KvTypes kv;
};

/// Everything but the weights.
Result<Local> open(const LocalModelOptions& options) {
    Local local;
    POTLUCK_ASSIGN(local.kv, parse_kv_types(options.kv_type));
    POTLUCK_ASSIGN(local.devices, make_devices(options.device, options.cpu));
    const auto& rope = options.rope;
    POTLUCK_ASSIGN(const auto rotary,
                   model::make_rotary_override(rope.scaling, rope.factor, rope.base));
    POTLUCK_ASSIGN(local.model, engine::open_model(options.model, rotary));
    POTLUCK_ASSIGN(local.tokenizer, model::Tokenizer::load(*local.model.file));
    return local;
}

Status load(Local& local, const LocalModelOptions& options, std::size_t context) {
    POTLUCK_ASSIGN(local.runner, engine::LocalRunner::load(local.model, *local.devices.front(),
                                                           {.context = context,
                                                            .prefill_chunk = options.prefill_chunk,
                                                            .kv = local.kv}));
    return {};
}

Result<std::string> read_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) return error(ErrorCode::kNotFound, path + ": cannot be read");
    return std::string(std::istreambuf_iterator<char>(in), {});
}

}  // namespace

int run_run(const RunOptions& options) {
    const auto start = Clock::now();
    auto local = open(options.local);
    if (!local) return fail(local.error());
    const auto& tokenizer = *local->tokenizer;
    const auto prompt = tokenizer.encode(options.prompt, true, true);
    if (prompt.empty()) return fail({ErrorCode::kInvalidArgument, "the prompt is empty"});
    // One answer needs room for itself only, whatever the model was made for.
    std::size_t context = options.local.context;
    if (context == 0) {
        const std::size_t whole = local->model.description.config.context_length;
        context = std::min(prompt.size() + options.max_tokens, whole);
    }
    if (const Status loaded = load(*local, options.local, context); !loaded) {
        return fail(loaded.error());
    }
    const double load_s = seconds_since(start);
    SamplerSpec sampler{.seed = options.seed, .temperature = options.temperature};
    if (options.ignore_eos) {
        for (const TokenId token : tokenizer.end_of_generation_tokens()) {
            sampler.logit_bias.emplace_back(token, -std::numeric_limits<float>::infinity());
        }
    }
    model::StreamDecoder decoder(local->tokenizer);
    std::size_t made = 0;
    double first_s = 0;
    const auto on_token = [&](TokenId token) {
        if (++made == 1) first_s = seconds_since(start);
        if (options.ids) {
            std::cout << (made == 1 ? "" : " ") << token;
        } else if (!tokenizer.ends_generation(token)) {
            std::cout << decoder.push(token) << std::flush;
        }
        return !tokenizer.ends_generation(token);
    };
    auto& runner = *local->runner;
    Status done = runner.begin(sampler);
    if (done) done = runner.generate(prompt, options.max_tokens, on_token);
    if (!options.ids) std::cout << decoder.flush();
    std::cout << std::endl;
    if (!done) return fail(done.error());
    if (options.local.verbose) {
        const double total_s = seconds_since(start);
        const double decode_s = total_s - first_s;
        std::cerr << fmt::format("load     {:8.1f} ms\n", load_s * 1e3)
                  << fmt::format("prefill  {:8.1f} ms  {} tokens, {:.1f} tok/s\n",
                                 (first_s - load_s) * 1e3, prompt.size(),
                                 static_cast<double>(prompt.size()) / (first_s - load_s))
                  << fmt::format("decode   {:8.1f} ms  {} tokens, {:.1f} tok/s\n", decode_s * 1e3,
                                 made, made > 1 ? static_cast<double>(made - 1) / decode_s : 0.0)
                  << fmt::format("first token after {:.1f} ms on {}\n", first_s * 1e3,
                                 local->devices.front()->name());
    }
    return 0;
}

int run_perplexity(const PerplexityOptions& options) {
    const std::size_t window = options.local.context == 0 ? 512 : options.local.context;
    auto text = read_text(options.file);
    if (!text) return fail(text.error());
    auto local = open(options.local);
    if (!local) return fail(local.error());
    if (const Status loaded = load(*local, options.local, window); !loaded) {
        return fail(loaded.error());
    }
    const auto tokens = local->tokenizer->encode(*text, false, true);
    if (tokens.size() < window) {
        return fail(
            {ErrorCode::kInvalidArgument, fmt::format("{} has {} tokens, a window needs {}",
                                                      options.file, tokens.size(), window)});
    }
    // Windows of `window` tokens, a remainder is dropped; the first half of each is context only.
    double sum = 0;
    std::size_t count = 0;
    for (std::size_t begin = 0; begin + window <= tokens.size(); begin += window) {
        const auto part = std::span(tokens).subspan(begin, window);
        Status fed = local->runner->begin({});
        const auto observe = [&](const Row& row, std::span<const float> logits) {
            if (row.position < window / 2 || row.position + 1 >= window) return;
            const auto vocabulary = logits.first(local->model.description.config.vocabulary);
            const float peak = *std::max_element(vocabulary.begin(), vocabulary.end());
            double total = 0;
            for (const float x : vocabulary)
                total += static_cast<double>(portable_exp(x - peak));
            const auto next = static_cast<std::size_t>(part[row.position + 1]);
            sum -= static_cast<double>(vocabulary[next] - peak) - portable_log(total);
            ++count;
        };
        if (fed) fed = local->runner->feed_all(part, observe);
        if (!fed) return fail(fed.error());
        if (options.local.verbose) {
            std::cerr << fmt::format("{} tokens: {:.4f}\n", begin + window,
                                     std::exp(sum / static_cast<double>(count)));
        }
    }
    std::cout << fmt::format("perplexity: {:.4f}\n", std::exp(sum / static_cast<double>(count)));
    return 0;
}

int run_tokenize(const std::string& model) {
    auto file = model::gguf::Gguf::open(model);
    if (!file) return fail(file.error());
    auto tokenizer = model::Tokenizer::load(**file);
    if (!tokenizer) return fail(tokenizer.error());
    const std::string text(std::istreambuf_iterator<char>(std::cin), {});
    const auto ids = (*tokenizer)->encode(text, false, true);
    for (std::size_t i = 0; i < ids.size(); ++i)
        std::cout << (i == 0 ? "" : " ") << ids[i];
    std::cout << "\n";
    return 0;
}

int run_inspect_command(const std::string& model, bool tensors) {
    std::vector<std::string_view> architectures;
    for (const auto* a : model::arch::architectures())
        architectures.push_back(a->name);
    InspectOptions options;
    options.architectures = architectures;
    options.tensors = tensors;
    options.check_tokenizer = [](const model::gguf::Gguf& file) -> Status {
        POTLUCK_TRY(model::Tokenizer::load(file));
        return {};
    };
    return run_inspect(model, options);
}

}  // namespace potluck::cli
