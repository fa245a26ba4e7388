// `potluck simulate speculation`: one stream with drafts on described hardware, in virtual time.

#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "cli/commands.h"
#include "cli/failure.h"
#include "coordinator/simulate/speculation_report.h"

namespace potluck::cli {
namespace {

Status run_file(const std::string& file, const std::string& choice) {
    std::ifstream in(file, std::ios::binary);
    if (!in) return error(ErrorCode::kNotFound, file + ": cannot be read");
    const std::string text(std::istreambuf_iterator<char>(in), {});
    POTLUCK_ASSIGN(const auto scenario, simulate::parse_scenario(text, file));
    POTLUCK_ASSIGN(const auto figures, simulate::run_scenario(scenario, choice));
    std::cout << simulate::to_table(scenario, figures);
    return {};
}

}  // namespace

int run_simulate_speculation(const SimulateSpeculationOptions& options) {
    for (const auto& file : options.scenarios) {
        const auto done = run_file(file, options.speculation);
        if (!done) return fail(done.error());
        if (&file != &options.scenarios.back()) std::cout << '\n';
    }
    return 0;
}

}  // namespace potluck::cli
