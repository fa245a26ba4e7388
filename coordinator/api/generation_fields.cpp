#include "coordinator/api/generation_fields.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <optional>

#include <boost/json/value.hpp>

namespace potluck::coordinator::api {

namespace json = boost::json;

namespace {

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kMaxTokens = std::numeric_limits<std::uint32_t>::max();

std::optional<float> read_float(FieldReader& reader, std::string_view name, double min,
                                double max) {
    const auto number = reader.number(name, min, max);
    if (!number) return std::nullopt;
    return static_cast<float>(*number);
}

/// One meaning under two names: ours and llama.cpp's. Both at once are refused.
std::string_view pick_name(FieldReader& reader, std::string_view name, std::string_view alias) {
    const bool has_name = reader.find(name) != nullptr;
    const bool has_alias = reader.find(alias) != nullptr;
    if (has_name && has_alias)
        reader.fail(alias, fmt::format("is another name of '{}': send one of them", name));
    return has_alias ? alias : name;
}

void read_logit_bias(FieldReader& reader, SamplingFields& out) {
    const json::object* biases = reader.object("logit_bias");
    if (biases == nullptr) return;
    if (biases->size() > kMaxLogitBiases)
        return reader.fail("logit_bias", fmt::format("holds more than {} tokens", kMaxLogitBiases));
    for (const auto& entry : *biases) {
        const std::string_view key(entry.key().data(), entry.key().size());
        TokenId id = -1;
        const auto [end, ec] = std::from_chars(key.data(), key.data() + key.size(), id);
        if (ec != std::errc() || end != key.data() + key.size() || id < 0)
            return reader.fail("logit_bias", fmt::format("has a key that is no token id: '{}'",
                                                         key.substr(0, 40)));
        double bias = 0;
        if (entry.value().is_number()) bias = entry.value().to_number<double>();
        if (!entry.value().is_number() || !(bias >= -100 && bias <= 100))
            return reader.fail("logit_bias",
                               fmt::format("needs a number between -100 and 100 for token {}", id));
        out.logit_bias.emplace_back(id, static_cast<float>(bias));
    }
}

void read_penalty_window(FieldReader& reader, SamplingFields& out) {
    // llama.cpp's name has its own meanings of -1 (everything) and 0 (no penalties at all).
    const std::string_view name = pick_name(reader, "penalty_window", "repeat_last_n");
    if (name == "penalty_window") {
        if (const auto window = reader.integer(name, 0, kMaxInt32))
            out.penalty_window = static_cast<std::int32_t>(*window);
    } else if (const auto last_n = reader.integer(name, -1, kMaxInt32)) {
        if (*last_n == 0)
            return reader.fail(name, "is 0, which means no penalties: leave the penalties out");
        out.penalty_window = *last_n < 0 ? 0 : static_cast<std::int32_t>(*last_n);
    }
}

SamplingFields read_sampling(FieldReader& reader) {
    SamplingFields out;
    out.temperature = read_float(reader, "temperature", 0, 2);
    out.top_p = read_float(reader, "top_p", 0, 1);
    out.min_p = read_float(reader, "min_p", 0, 1);
    if (const auto top_k = reader.integer("top_k", -1, kMaxInt32))  // -1, as vLLM has it: off
        out.top_k = *top_k < 0 ? 0 : static_cast<std::int32_t>(*top_k);
    const auto repetition = pick_name(reader, "repetition_penalty", "repeat_penalty");
    out.repetition_penalty = read_float(reader, repetition, 0.01, 10);
    out.presence_penalty = read_float(reader, "presence_penalty", -2, 2);
    out.frequency_penalty = read_float(reader, "frequency_penalty", -2, 2);
    read_penalty_window(reader, out);
    out.seed = reader.integer("seed", std::numeric_limits<std::int64_t>::min(),
                              std::numeric_limits<std::int64_t>::max());
    read_logit_bias(reader, out);
    return out;
}

void read_stop(FieldReader& reader, GenerationFields& out) {
    const json::value* stop = reader.find("stop");
    if (stop == nullptr) return;
    const auto add = [&](const json::value& value) {
        const auto* text = value.if_string();
        if (text == nullptr || text->empty() || text->size() > kMaxStopBytes) {
            reader.fail("stop", fmt::format("must be a string, or a list of strings, of 1 to {} "
                                            "bytes each",
                                            kMaxStopBytes));
            return;
        }
        out.stop.emplace_back(text->begin(), text->end());
    };
    const auto* list = stop->if_array();
    if (list == nullptr) return add(*stop);
    if (list->size() > kMaxStops)
        return reader.fail("stop", fmt::format("holds more than {} strings", kMaxStops));
    for (const json::value& value : *list)
        add(value);
}

void read_streaming(FieldReader& reader, GenerationFields& out) {
    out.stream = reader.boolean("stream").value_or(false);
    const json::object* options = reader.object("stream_options");
    if (options == nullptr) return;
    if (!out.stream) return reader.fail("stream_options", "is only allowed with 'stream': true");
    FieldReader fields(*options, "stream_options.");
    out.include_usage = fields.boolean("include_usage").value_or(false);
    if (fields.boolean("include_obfuscation").value_or(false))
        fields.fail_unsupported("include_obfuscation");
    if (auto status = fields.finish(); !status) reader.fail(std::move(status.error()));
}

void read_max_tokens(FieldReader& reader, GenerationFields& out) {
    const auto old_name = reader.integer("max_tokens", 1, kMaxTokens);
    const auto new_name = reader.integer("max_completion_tokens", 1, kMaxTokens);
    if (old_name && new_name && *old_name != *new_name)
        return reader.fail("max_completion_tokens", "contradicts 'max_tokens'");
    if (const auto limit = new_name ? new_name : old_name)
        out.max_tokens = static_cast<std::uint32_t>(*limit);
}

void read_speculation(FieldReader& reader, GenerationFields& out) {
    out.speculation = reader.string("speculation").value_or("");
    if (out.speculation.size() > kMaxSpeculationBytes)
        reader.fail("speculation", fmt::format("is longer than {} bytes", kMaxSpeculationBytes));
}

/// Fields of OpenAI's API that would change the answer if we had them. Their neutral values pass.
void refuse_unsupported(FieldReader& reader) {
    for (const char* name :
         {"audio", "prediction", "web_search_options", "reasoning_effort", "verbosity", "functions",
          "function_call", "guided_json", "guided_regex", "guided_choice", "guided_grammar",
          "grammar", "json_schema", "moderation"})
        reader.unsupported(name);
    if (const auto* tools = reader.find("tools"))
        if (!tools->is_array() || !tools->get_array().empty()) reader.fail_unsupported("tools");
    if (const auto* choice = reader.find("tool_choice"))
        if (!choice->is_string() || choice->get_string() != "none")
            reader.fail_unsupported("tool_choice", "is not supported yet, except for \"none\"");
    if (const auto* format = reader.find("response_format"))
        if (*format != json::object({{"type", "text"}}))
            reader.fail_unsupported("response_format",
                                    "is not supported yet, except for {\"type\": \"text\"}");
    if (const auto* modalities = reader.find("modalities"))
        if (*modalities != json::array(1, "text"))
            reader.fail_unsupported("modalities", "is not supported yet, except for [\"text\"]");
    if (reader.boolean("store").value_or(false))
        reader.fail_unsupported("store", "is not supported: answers are not stored");
}

}  // namespace

GenerationFields read_generation_fields(FieldReader& reader) {
    GenerationFields out;
    out.model = reader.string("model").value_or("");
    if (out.model == "default") out.model.clear();
    out.sampling = read_sampling(reader);
    out.n = static_cast<std::uint32_t>(reader.integer("n", 1, kMaxChoicesPerPrompt).value_or(1));
    read_max_tokens(reader, out);
    read_stop(reader, out);
    read_streaming(reader, out);
    out.ignore_eos = reader.boolean("ignore_eos").value_or(false);
    read_speculation(reader, out);
    refuse_unsupported(reader);
    // Who asks, and what for, does not change the answer.
    reader.accept({"user", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
                   "prompt_cache_retention", "parallel_tool_calls"});
    return out;
}

SamplerSpec sampler_from(const SamplingFields& fields, SamplerSpec defaults) {
    SamplerSpec spec = std::move(defaults);
    if (fields.temperature) spec.temperature = *fields.temperature;
    if (fields.top_p) spec.top_p = *fields.top_p;
    if (fields.min_p) spec.min_p = *fields.min_p;
    if (fields.top_k) spec.top_k = *fields.top_k;
    if (fields.repetition_penalty) spec.repetition_penalty = *fields.repetition_penalty;
    if (fields.presence_penalty) spec.presence_penalty = *fields.presence_penalty;
    if (fields.frequency_penalty) spec.frequency_penalty = *fields.frequency_penalty;
    if (fields.penalty_window) spec.penalty_window = *fields.penalty_window;
    if (fields.seed) spec.seed = static_cast<std::uint64_t>(*fields.seed);
    spec.logit_bias.insert(spec.logit_bias.end(), fields.logit_bias.begin(),
                           fields.logit_bias.end());
    return spec;
}

}  // namespace potluck::coordinator::api
