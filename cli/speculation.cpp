#include "cli/speculation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "coordinator/draft_model/draft_thread.h"
#include "coordinator/speculate/speculator.h"
#include "coordinator/speculate/static_table.h"
#include "coordinator/speculate/timed_speculation.h"
#include "engine/stage_drafter.h"
#include "kernels/cpu/cpu_device.h"
#include "model/gguf/mapped_file.h"
#include "model/tokenizer/same_vocabulary.h"

namespace potluck::cli {
namespace {

constexpr const char* kAnyNode = "auto";  ///< for --draft-node

/// Positions of a sequence behind which a draft model is silent, unless the user says otherwise:
/// its cache should not take the memory of a second model.
constexpr std::size_t kDraftContext = 8192;

/// Rows of a batch that feeds a text to a node, and texts whose rows it keeps at once.
constexpr std::uint32_t kNodeRows = 64, kNodeTexts = 4;

/// `tokenizer`: of the model that is served.
Result<engine::OpenModel> open_draft_model(const ClusterOptions& options,
                                           const model::Tokenizer& tokenizer) {
    POTLUCK_ASSIGN(auto model, engine::open_model(options.draft_model));
    POTLUCK_ASSIGN(const auto its_tokenizer, model::Tokenizer::load(*model.file));
    POTLUCK_TRY(model::check_same_vocabulary(tokenizer, *its_tokenizer));
    return model;
}

std::size_t draft_context(const ClusterOptions& options, const engine::OpenModel& model) {
    const std::size_t trained = model.description.config.context_length;
    return options.draft_context > 0 ? options.draft_context : std::min(trained, kDraftContext);
}

Result<std::shared_ptr<coordinator::DraftPort>> start_draft_thread(const ClusterOptions& options,
                                                                   engine::OpenModel model) {
    DeviceOptions device{.threads = options.draft_threads, .isa = options.cpu.isa};
    POTLUCK_ASSIGN(const auto cpu, cpu_options(device));
    const std::size_t context = draft_context(options, model);
    POTLUCK_ASSIGN(auto thread,
                   coordinator::DraftThread::start(
                       {.model = std::move(model),
                        .make_device = [cpu] { return kernels::cpu::make_cpu_device(cpu); },
                        .engine = {.context = context}}));
    return std::shared_ptr<coordinator::DraftPort>(std::move(thread));
}

Result<coordinator::DraftNodeOptions> plan_draft_node(const ClusterOptions& options,
                                                      const engine::OpenModel& model) {
    const auto& config = model.description.config;
    const std::size_t context = draft_context(options, model);
    POTLUCK_TRY(model::check_context(config, context));
    coordinator::DraftNodeOptions node;
    node.model_path = options.draft_model;
    if (options.draft_node != kAnyNode) node.placement.node = options.draft_node;
    node.placement.plan = {.context = static_cast<std::uint32_t>(context),
                           .slots = kNodeTexts,
                           .max_batch_rows = kNodeRows};
    node.port = std::make_shared<coordinator::RemoteDraft>(config.vocabulary);
    return node;
}

/// Puts the draft model where it is wanted.
Status add_draft_model(const ClusterOptions& options, const model::Tokenizer& tokenizer,
                       coordinator::DrafterOptions& drafters, Drafting& drafting) {
    POTLUCK_ASSIGN(auto model, open_draft_model(options, tokenizer));
    if (options.draft_node.empty()) {
        POTLUCK_ASSIGN(drafters.draft_model, start_draft_thread(options, std::move(model)));
        return {};
    }
    POTLUCK_ASSIGN(drafting.node, plan_draft_node(options, model));
    drafters.draft_model = drafting.node->port;
    return {};
}

Result<std::shared_ptr<const coordinator::StaticTable>> read_static_table(
    const ClusterOptions& options, const model::Tokenizer& tokenizer) {
    POTLUCK_ASSIGN(const auto file, model::gguf::MappedFile::open(options.static_table));
    POTLUCK_ASSIGN(auto table,
                   coordinator::StaticTable::parse(file.bytes(), vocabulary_id(tokenizer)));
    return std::make_shared<const coordinator::StaticTable>(std::move(table));
}

}  // namespace

Result<std::shared_ptr<const model::Tokenizer>> load_tokenizer(const std::string& path) {
    POTLUCK_ASSIGN(const auto file, model::gguf::Gguf::open(path));
    return model::Tokenizer::load(*file);
}

coordinator::VocabularyId vocabulary_id(const model::Tokenizer& tokenizer) {
    return {.size = static_cast<std::uint32_t>(tokenizer.vocabulary_size()),
            .fingerprint = model::vocabulary_fingerprint(tokenizer)};
}

void add_speculation_options(CLI::App& command, ClusterOptions& o) {
    command
        .add_option(
            "--speculation", o.speculation,
            "who drafts tokens ahead for requests that do not say: off, auto or a drafter's "
            "name; it changes the time, never a token")
        ->capture_default_str();
    auto* model = command.add_option("--draft-model", o.draft_model,
                                     "small model with the same vocabulary that drafts tokens "
                                     "ahead, on this machine's CPU unless --draft-node says where");
    model->type_name("FILE");
    auto* threads =
        command.add_option("--draft-threads", o.draft_threads, "CPU threads of the draft model");
    threads->check(CLI::Range(1, 1024))->needs(model)->capture_default_str();
    command
        .add_option("--draft-node", o.draft_node,
                    "worker that computes the draft model instead: its name, and the model does "
                    "without it where it can; or auto, any that the plan leaves out")
        ->type_name("NAME|auto")
        ->needs(model)
        ->excludes(threads);
    command
        .add_option("--draft-context", o.draft_context,
                    "positions that the draft model follows a text; 0: what it was made for, at "
                    "most 8192")
        ->needs(model);
    command
        .add_option("--lookup-cache-static", o.static_table,
                    "table of n-grams (potluck speculation-table) for the drafter ngram_cache")
        ->type_name("FILE");
    command.add_flag("--test-drafters", o.test_drafters)->group("");  // for benchmarks
}

void add_stage_drafts(CLI::App& command, std::size_t& most) {
    command.add_option("--test-stage-drafts", most)
        ->check(CLI::Range(std::size_t{0}, engine::StageDrafter::kMostProposed))
        ->group("");
}

Result<Drafting> make_drafting(const ClusterOptions& options) {
    Drafting drafting;
    coordinator::SpeculatorOptions settings{.test_drafters = options.test_drafters};
    std::shared_ptr<const model::Tokenizer> tokenizer;
    if (!options.draft_model.empty() || !options.static_table.empty()) {
        POTLUCK_ASSIGN(tokenizer, load_tokenizer(options.model));
    }
    if (!options.draft_model.empty()) {
        auto added = add_draft_model(options, *tokenizer, settings.drafters, drafting);
        if (!added) return with_context(added.error(), "--draft-model " + options.draft_model);
    }
    if (!options.static_table.empty()) {
        auto table = read_static_table(options, *tokenizer);
        if (!table)
            return with_context(table.error(), "--lookup-cache-static " + options.static_table);
        settings.drafters.static_table = std::move(*table);
    }
    auto speculation = coordinator::make_speculator(settings);
    if (!speculation->knows(options.speculation)) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("--speculation: '{}' is neither off, auto nor a drafter{}",
                        options.speculation,
                        options.speculation == "draft_model" ? " without --draft-model" : ""));
    }
    drafting.speculation = coordinator::time_speculation(std::move(speculation), [] {
        return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch());
    });
    return drafting;
}

}  // namespace potluck::cli
