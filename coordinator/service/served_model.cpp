#include "coordinator/service/served_model.h"

#include <chrono>
#include <filesystem>

#include "base/log.h"
#include "coordinator/survey/model_parts.h"
#include "model/gguf/gguf.h"
#include "weights/manifest.h"

namespace potluck::coordinator {
namespace {

/// The file's chat template, or ChatML where the vocabulary has its tokens; else why there is none.
void load_chat_template(const model::gguf::Gguf& file, ServedModel& served) {
    std::string_view source;
    if (const auto stored = file.get_string("tokenizer.chat_template")) {
        source = *stored;
    } else if (served.tokenizer->find("<|im_start|>") && served.tokenizer->find("<|im_end|>")) {
        source = model::chat::chatml_template();
    } else {
        served.no_chat_reason = "the model file has no chat template; use /v1/completions";
        return;
    }
    auto parsed = model::chat::Template::parse(source);
    if (parsed) {
        served.chat_template = std::make_shared<const model::chat::Template>(std::move(*parsed));
        return;
    }
    served.no_chat_reason = "the model's chat template cannot be used: " + parsed.error().message;
    log::warning("{}: {}", file.name(), served.no_chat_reason);
}

/// `general.sampling.*`: what the model's makers recommend.
void read_recommended_sampling(const model::gguf::Gguf& file, SamplerSpec& sampler) {
    const auto read = [&](const char* key, float least, float most, float& value) {
        const auto stored = file.get_float(key);
        if (stored && *stored >= static_cast<double>(least) &&
            *stored <= static_cast<double>(most)) {
            value = static_cast<float>(*stored);
        }
    };
    read("general.sampling.temp", 0, 2, sampler.temperature);
    read("general.sampling.top_p", 0, 1, sampler.top_p);
    read("general.sampling.min_p", 0, 1, sampler.min_p);
    if (const auto k = file.get_uint("general.sampling.top_k"); k && *k < (1U << 30)) {
        sampler.top_k = static_cast<std::int32_t>(*k);
    }
}

}  // namespace

Result<ModelFacts> read_model_facts(const std::string& path, const std::string& id,
                                    const model::RotaryOverride& rotary) {
    ModelFacts facts;
    std::error_code ignored;
    const auto absolute = std::filesystem::absolute(path, ignored);
    facts.path = ignored ? path : absolute.string();
    POTLUCK_ASSIGN(const auto file, model::gguf::Gguf::open(facts.path));
    facts.file_bytes = file->file_bytes();
    facts.fingerprint = weights::fingerprint(*file);
    facts.file = file;
    POTLUCK_ASSIGN(const auto description,
                   model::describe(*file, model::arch::architectures(), rotary));
    facts.config = description.config;
    facts.rotary = rotary;
    facts.footprint = model::footprint(*file, facts.config);
    // The whole model's tensors are checked before any worker is asked to load a part.
    POTLUCK_TRY(model::build_shard(
        *file, description,
        {.begin = 0, .end = facts.config.n_layers, .embedding = true, .head = true}));
    ServedModel& served = facts.served;
    served.id = id.empty() ? std::filesystem::path(path).stem().string() : id;
    served.created = std::chrono::duration_cast<std::chrono::seconds>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count();
    POTLUCK_ASSIGN(served.tokenizer, model::Tokenizer::load(*file));
    load_chat_template(*file, served);
    served.default_sampler.temperature = 1;
    read_recommended_sampling(*file, served.default_sampler);
    return facts;
}

Result<planner::ModelParts> read_model_parts(const ModelFacts& facts, const KvTypes& kv) {
    POTLUCK_ASSIGN(const auto file, model::gguf::Gguf::open(facts.path));
    return model_parts(*file, facts.config, kv);
}

}  // namespace potluck::coordinator
