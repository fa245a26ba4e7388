#pragma once

// What the command line says about drafting ahead, and what is made of it.

#include <memory>

#include <CLI/CLI.hpp>

#include "base/result.h"
#include "cli/commands.h"
#include "coordinator/core/speculation.h"
#include "coordinator/speculate/static_table.h"
#include "model/tokenizer/tokenizer.h"

namespace potluck::cli {

coordinator::VocabularyId vocabulary_id(const model::Tokenizer& tokenizer);

void add_speculation_options(CLI::App& command, ClusterOptions& options);

/// The drafters, the draft model's thread among them. Errors name the option and the file.
Result<std::unique_ptr<coordinator::Speculation>> make_speculation(const ClusterOptions& options);

}  // namespace potluck::cli
