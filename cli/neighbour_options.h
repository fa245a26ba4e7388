#pragma once

// The command line of machines that are not always there: options of `worker`, and the commands
// `drain` and `undrain`.

#include <CLI/CLI.hpp>

#include "cli/commands.h"

namespace potluck::cli {

void add_owner_options(CLI::App& worker, WorkerCommandOptions& options);
/// All must live as long as `app`.
void add_drain_commands(CLI::App& app, DrainOptions& options, int& exit_code);

}  // namespace potluck::cli
