#pragma once

// What the command line says about drafting ahead, and what is made of it.

#include <memory>
#include <optional>

#include <CLI/CLI.hpp>

#include "base/result.h"
#include "cli/commands.h"
#include "coordinator/core/speculation.h"
#include "coordinator/service/draft_node.h"
#include "coordinator/speculate/static_table.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::cli {

Result<std::shared_ptr<const model::Tokenizer>> load_tokenizer(const std::string& model_path);
coordinator::VocabularyId vocabulary_id(const model::Tokenizer& tokenizer);

void add_speculation_options(CLI::App& command, ClusterOptions& options);
/// For tests, and not shown: how many tokens a last stage proposes with each that it samples.
void add_stage_drafts(CLI::App& command, std::size_t& most);

struct Drafting {
    std::unique_ptr<coordinator::Speculation> speculation;
    std::optional<coordinator::DraftNodeOptions> node;  ///< of a draft model that is to be on one
};
/// The drafters, the draft model's thread among them. Errors name the option and the file.
Result<Drafting> make_drafting(const ClusterOptions& options);

}  // namespace potluck::cli
