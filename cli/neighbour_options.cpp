#include "cli/neighbour_options.h"

#include <string>

#include "worker/service/detectors.h"

namespace potluck::cli {

void add_owner_options(CLI::App& worker, WorkerCommandOptions& options) {
    worker
        .add_option("--quiet-hours", options.quiet_hours,
                    "when this machine is not to be used, in its local time, e.g. 18:00-23:30 or "
                    "12:00-13:00,22:00-06:00")
        ->type_name("HH:MM-HH:MM,...");
    worker
        .add_option("--yield-memory-below", options.yield_memory_below,
                    "give the memory back when the machine has less than this available, e.g. "
                    "2GiB; 0: never")
        ->transform(CLI::AsSizeValue(false));
    worker.add_flag("--yield-gpu", options.yield_gpu,
                    "give the memory back while another process uses a GPU of this machine (asks "
                    "the drivers of NVIDIA and AMD)");
    worker
        .add_option("--yield-hook", options.yield_hooks,
                    "give the memory back while this file exists, or this command exits with 0; "
                    "may be given several times")
        ->type_name("FILE|COMMAND")
        ->allow_extra_args(false);
    worker
        .add_option("--yield-calm", options.yield_calm_s,
                    "seconds without any of these before the machine is offered again")
        ->check(CLI::Range(0.0, 86400.0))
        ->capture_default_str();
}

void add_drain_commands(CLI::App& app, DrainOptions& options, int& exit_code) {
    const auto add = [&](const char* name, const char* what) {
        auto* command = app.add_subcommand(name, what);
        command->add_option("node", options.node, "as `potluck nodes` shows it")->required();
        command->add_option("--host", options.host)->capture_default_str();
        command->add_option("--port,-p", options.port)->capture_default_str();
        command
            ->add_option("--key", options.key,
                         "for clusters with keys, one with admin=yes; the variable hides it from "
                         "ps")
            ->envname("POTLUCK_KEY");
        return command;
    };
    auto* drain = add("drain", "Take a node out of use: it gives its memory back and stays joined");
    drain->add_flag("--force", options.force,
                    "also if the model does not fit without it; requests then wait");
    drain
        ->add_option("--wait", options.wait_s,
                     "seconds to wait for the memory to be given back; 0: do not wait")
        ->check(CLI::Range(0.0, 86400.0))
        ->capture_default_str();
    drain->callback([&] { exit_code = run_drain(options); });
    auto* undrain = add("undrain", "Use a node again that was drained");
    undrain->callback([&] { exit_code = run_undrain(options); });
}

}  // namespace potluck::cli
