// The `potluck` program: reads the command line and calls the command.

#include <fmt/format.h>
#include <unistd.h>

#include <climits>
#include <csignal>
#include <exception>
#include <filesystem>
#include <iostream>
#include <map>

#include <CLI/CLI.hpp>

#include "cli/commands.h"
#include "cli/neighbour_options.h"
#include "cli/speculation.h"
#include "security/enrolments.h"

namespace potluck::cli {

std::string default_model() {
    namespace fs = std::filesystem;
    const std::string name = "tiny-coder-q8_0.gguf";
    std::error_code ignored;
    const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
    // From the installed share folder, then upwards from the build folder to the checkout's
    // models/.
    std::vector<fs::path> places = {program / "../share/potluck/models"};
    for (fs::path up = program; up.has_relative_path(); up = up.parent_path())
        places.push_back(up / "models");
    for (const auto& place : places) {
        if (fs::exists(place / name, ignored)) return (place / name).lexically_normal().string();
    }
    return (fs::path("models") / name).string();
}

namespace {

void add_model(CLI::App& command, std::string& model) {
    command.add_option("--model,-m", model, "GGUF file (of a split set: the first)")
        ->capture_default_str()
        ->type_name("FILE");
}

void add_cpu(CLI::App& command, DeviceOptions& cpu, const std::string& threads) {
    command.add_option("--threads,-t", cpu.threads, threads);
    command.add_option("--isa", cpu.isa, "force an instruction set: scalar, avx2, avx512");
    command.add_flag("--no-repack", cpu.no_repack,
                     "leave weights in the mapped file: no memory of their own, much slower");
    command.add_flag("--pin", cpu.pin, "bind each thread to a core");
}

void add_kv(CLI::App& command, std::string& kv_type) {
    command
        .add_option("--kv-type", kv_type,
                    "how keys and values are stored: f16, bf16, q8_0, q5_0, q4_0 or turbo3 for "
                    "both, or e.g. k=q8_0,v=q4_0")
        ->capture_default_str();
}

void add_silence(CLI::App& command, std::uint32_t& silence_ms, const std::string& whose) {
    command
        .add_option("--silence", silence_ms,
                    "milliseconds without a sign of life after which " + whose +
                        " is taken for dead; more for slow networks")
        ->check(CLI::Range(50, 600000))
        ->capture_default_str();
}

void add_rope(CLI::App& command, RopeOptions& rope) {
    command.add_option("--rope-scaling", rope.scaling,
                       "rotary positions beyond the trained context: none, linear or yarn "
                       "(default: the file's)");
    command.add_option("--rope-scale", rope.factor,
                       "how many times the trained context (default: the file's)");
    command.add_option("--rope-base", rope.base,
                       "base of the rotary frequencies (default: the file's)");
}

void add_local(CLI::App& command, LocalModelOptions& local) {
    add_model(command, local.model);
    command.add_option("--device", local.device, "cpu, or deferred (for tests)")
        ->capture_default_str();
    add_cpu(command, local.cpu, "CPU threads; 0: all cores");
    command.add_option("--context", local.context, "positions; 0: what the model was made for");
    command.add_option("--prefill-chunk", local.prefill_chunk, "prompt tokens per step")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    add_kv(command, local.kv_type);
    add_rope(command, local.rope);
    command.add_flag("--verbose,-v", local.verbose, "print load, prefill and decode times");
}

std::map<std::string, planner::Objective> objectives() {
    return {{"decode", planner::Objective::kDecode},
            {"prefill", planner::Objective::kPrefill},
            {"throughput", planner::Objective::kThroughput}};
}

void add_dir(CLI::App& command, std::string& dir) {
    command
        .add_option("--dir,--state", dir,
                    "where certificates and what is remembered are kept; default: "
                    "~/.local/share/potluck")
        ->type_name("DIR");
}

void add_weights(CLI::App& command, std::string& cache, std::uint64_t& rate, std::string what) {
    command.add_option("--weights-cache", cache, what + "; default: ~/.cache/potluck")
        ->type_name("DIR");
    command
        .add_option(
            "--weights-rate", rate,
            "bytes a second at most when giving weights to workers, e.g. 50MiB; 0: no limit")
        ->transform(CLI::AsSizeValue(false));
}

void add_cluster(CLI::App& command, ClusterOptions& o) {
    add_model(command, o.model);
    command.add_option("--workers,-n", o.workers, "workers to wait for")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
    command
        .add_option("--host", o.host, "address of the API; beyond this machine only with --keys")
        ->capture_default_str();
    command.add_option("--port,-p", o.port, "port of the API; 0: any free one")
        ->capture_default_str();
    command
        .add_option("--split", o.split,
                    "layers per device, in order, e.g. 3,3,2 (default: as the planner chooses)")
        ->delimiter(',');
    command
        .add_option("--objective", o.objective,
                    "what the planner chooses the best for: decode (one user), prefill (one "
                    "prompt), throughput (all slots; default of `up`)")
        ->transform(CLI::CheckedTransformer(objectives()));
    command.add_option("--context", o.context,
                       "positions per request; 0: what the model was made for");
    command.add_option("--slots", o.slots, "answers made at once")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    command.add_option("--kv-tokens", o.kv_tokens,
                       "tokens that the KV cache holds, of all answers together; 0: context times "
                       "slots, or what memory has");
    command
        .add_option("--prefill-chunk", o.prefill_chunk,
                    "most prompt tokens per batch; 0: as measured step times say")
        ->check(CLI::Range(0, 4096))
        ->capture_default_str();
    add_speculation_options(command, o);
    auto* keys =
        command.add_option("--keys", o.keys, "file of those who may use the API (potluck key new)");
    command
        .add_flag("--share-prefixes", o.share_prefixes,
                  "answers of one key may reuse work for another's; timing can show it")
        ->needs(keys->type_name("FILE"));
    command
        .add_flag("--insecure-no-keys", o.insecure_no_keys,
                  "let everybody who reaches --host use the API")
        ->excludes(keys);
    command.add_option("--queue-limit", o.queue_limit, "requests that may wait; more get 429")
        ->check(CLI::Range(1, 65536))
        ->capture_default_str();
    command
        .add_option("--queue-timeout", o.queue_timeout_s,
                    "seconds that a request may wait for its first token; 0: no limit")
        ->check(CLI::Range(0.0, 604800.0))
        ->capture_default_str();
    command
        .add_option("--request-timeout", o.request_timeout_s,
                    "seconds that a whole answer may take; 0: no limit")
        ->check(CLI::Range(0.0, 604800.0))
        ->capture_default_str();
    command
        .add_option("--patience", o.patience_s,
                    "seconds that requests wait for machines to come back when those that are left "
                    "cannot serve")
        ->check(CLI::Range(0.0, 604800.0))
        ->capture_default_str();
    add_silence(command, o.silence_ms, "a worker");
    add_kv(command, o.kv_type);
    add_rope(command, o.rope);
    command.add_flag("--verbose,-v", o.verbose, "say more on stderr");
}

/// All commands with the options that the command line fills in.
struct Program {
    CLI::App app{
        "Potluck pools the machines of a home into one inference cluster behind an "
        "OpenAI-compatible address.\n\nStart with:  potluck up --workers 3"};
    RunOptions run;
    PerplexityOptions perplexity;
    BenchOptions bench;
    SimulateSchedulerOptions simulate;
    SimulateSpeculationOptions simulate_speculation;
    PlanCommandOptions plan;
    ClusterOptions up, coordinator;
    WorkerCommandOptions worker;
    ChatCommandOptions chat, status;
    NodesOptions nodes;
    RevokeOptions revoke;
    DrainOptions drain;
    KeyNewOptions key_new;
    InitOptions init;
    TokenOptions token;
    SpeculationTableOptions speculation_table;
    std::string tokenize_model = default_model();
    std::string inspect_model;
    bool inspect_brief = false;
    int exit_code = 0;

    Program();
    void add_cluster_commands();
    void add_local_commands();
    void add_bench();
    void add_simulate();
    void add_plan();
    void add_client_commands();
    void add_key_commands();
    void add_init_commands();
};

Program::Program() {
    app.require_subcommand(1);
    app.set_version_flag("--version", std::string("potluck ") + POTLUCK_VERSION);
    run.local.model = perplexity.local.model = bench.model = plan.model = up.model =
        coordinator.model = speculation_table.model = tokenize_model;
    add_cluster_commands();
    add_init_commands();
    add_client_commands();
    add_key_commands();
    add_local_commands();
    add_bench();
    add_simulate();
    add_plan();
}

void Program::add_cluster_commands() {
    auto* u = app.add_subcommand("up", "Start a coordinator and workers on this machine");
    add_cluster(*u, up);
    add_cpu(*u, up.cpu, "CPU threads of each worker's device; 0: the cores shared out");
    u->add_option("--devices", up.devices, "devices of each worker, e.g. cpu,cpu")
        ->capture_default_str();
    u->add_option("--pace", up.paces,
                  "for tests: how long a batch takes on each worker, e.g. 10ms,10ms,30ms; or "
                  "8ms+0.1ms (and per row), x3 (times what it takes)")
        ->delimiter(',');
    add_stage_drafts(*u, up.test_stage_drafts);
    u->callback([this] { exit_code = run_up(up); });

    auto* c = app.add_subcommand("coordinator", "Start a coordinator that waits for workers");
    add_cluster(*c, coordinator);
    add_dir(*c, coordinator.dir);
    c->add_option("--listen", coordinator.listen,
                  "where workers join; default: the port of `potluck init`, on all addresses");
    c->add_option(
         "--certificate-hours", coordinator.certificate_hours,
         "how long certificates count that it signs; workers renew them when a third is left")
        ->check(CLI::Range(0.001, 87600.0))
        ->capture_default_str();
    c->add_flag("--use-all", coordinator.use_all,
                "give every device a stage, also where that is slower");
    add_weights(*c, coordinator.weights_cache, coordinator.weights_rate,
                "where the hashes of model files are remembered");
    c->callback([this] { exit_code = run_coordinator(coordinator); });

    auto* w = app.add_subcommand("worker", "Bring this machine's devices to a coordinator");
    w->add_option("--join", worker.join,
                  "a token of `potluck init` or `potluck token new`, for the first time; -: read "
                  "from standard input")
        ->envname("POTLUCK_JOIN")
        ->type_name("TOKEN");
    add_dir(*w, worker.dir);
    w->add_option("--coordinator,-c", worker.coordinator,
                  "its address, host:port; default: where this machine joined");
    w->add_option("--identity-fd", worker.identity_fd)->group("");  // how `up` starts workers
    w->add_option("--name", worker.name,
                  "to join with; default: the host's name. The coordinator may add a number");
    w->add_option("--listen", worker.listen, "where other workers reach this one")
        ->capture_default_str();
    w->add_option("--devices", worker.devices, "e.g. cpu,cpu; for tests cpu:paced=10ms")
        ->capture_default_str();
    add_cpu(*w, worker.cpu, "CPU threads per device; 0: the cores shared out");
    w->add_option("--first-core", worker.cpu.first_core, "with --pin: the first core to take");
    w->add_option("--memory", worker.memory_bytes,
                  "use at most this much per device, e.g. 4GiB; 0: what is free")
        ->transform(CLI::AsSizeValue(false));
    add_silence(*w, worker.silence_ms, "the coordinator");
    add_stage_drafts(*w, worker.test_stage_drafts);
    w->add_flag("--measure", worker.measure,
                "measure this machine anew, even if its figures are known");
    add_weights(*w, worker.weights_cache, worker.weights_rate, "where fetched weights are kept");
    w->add_option("--weights-cache-size", worker.weights_cache_bytes,
                  "most that they may take, e.g. 40GiB; 0: half of what is free")
        ->transform(CLI::AsSizeValue(false));
    w->add_flag("--no-local-files", worker.no_local_files,
                "fetch the weights even if the model's file is on this machine");
    add_owner_options(*w, worker);
    w->add_flag("--verbose,-v", worker.verbose, "say more on stderr");
    w->callback([this] { exit_code = run_worker(worker); });
}

void Program::add_init_commands() {
    const auto add_validity = [](CLI::App& command, double& hours, std::uint32_t& uses) {
        command.add_option("--hours", hours, "how long the token can be used")
            ->check(CLI::Range(0.001, 87600.0))
            ->capture_default_str();
        command.add_option("--uses", uses, "how many machines may join with the token")
            ->check(CLI::Range(std::uint32_t{1}, security::kMaxUses))
            ->capture_default_str();
    };
    auto* i = app.add_subcommand(
        "init", "Make a cluster: certificates for the coordinator, a token to join with on stdout");
    add_dir(*i, init.dir);
    i->add_option("--address", init.address,
                  "where workers will find the coordinator, host:port; default: this machine's "
                  "address, port 7070");
    add_validity(*i, init.hours, init.uses);
    i->callback([this] { exit_code = run_init(init); });

    auto* t = app.add_subcommand("token", "Tokens that let machines join");
    t->require_subcommand(1);
    auto* n = t->add_subcommand("new", "Make a token: it is shown once, on stdout");
    add_dir(*n, token.dir);
    add_validity(*n, token.hours, token.uses);
    n->callback([this] { exit_code = run_token_new(token); });
    auto* l = t->add_subcommand("list", "Show the tokens and what is left of them");
    add_dir(*l, token.dir);
    l->callback([this] { exit_code = run_token_list(token); });
    auto* r = t->add_subcommand("revoke", "Nobody can join with this token any more");
    add_dir(*r, token.dir);
    r->add_option("id", token.id, "as `potluck token list` shows it")->required();
    r->callback([this] { exit_code = run_token_revoke(token); });
}

void Program::add_client_commands() {
    auto* c = app.add_subcommand("chat", "Talk to a running cluster");
    c->add_option("--host", chat.host)->capture_default_str();
    c->add_option("--port,-p", chat.port)->capture_default_str();
    c->add_option("--system", chat.system, "system message");
    c->add_option("--max-tokens", chat.max_tokens, "0: as many as fit");
    c->add_option("--temperature", chat.temperature, "default: the server's");
    c->add_option("--key", chat.key, "for clusters with keys; the variable hides it from ps")
        ->envname("POTLUCK_KEY");
    c->add_option("message", chat.message,
                  "one message; without it the conversation is interactive");
    c->callback([this] { exit_code = run_chat(chat); });

    auto* s = app.add_subcommand("status", "Say how a running cluster is");
    s->add_option("--host", status.host)->capture_default_str();
    s->add_option("--port,-p", status.port)->capture_default_str();
    s->callback([this] { exit_code = run_status(status.host, status.port); });

    auto* n = app.add_subcommand("nodes", "Show the machines of a running cluster and its plan");
    n->add_option("--host", nodes.host)->capture_default_str();
    n->add_option("--port,-p", nodes.port)->capture_default_str();
    n->add_option("--key", nodes.key, "for clusters with keys; the variable hides it from ps")
        ->envname("POTLUCK_KEY");
    n->add_flag("--json", nodes.json, "as GET /v1/cluster says it");
    auto* r = n->add_subcommand("revoke", "Shut a machine out: its certificate counts no more");
    add_dir(*r, revoke.dir);
    r->add_option("node", revoke.node, "its name, as `potluck nodes` shows it")->required();
    r->callback([this] { exit_code = run_nodes_revoke(revoke); });
    n->callback([this, r] {
        if (!r->parsed()) exit_code = run_nodes(nodes);
    });
    add_drain_commands(app, drain, exit_code);
}

void Program::add_key_commands() {
    auto* k = app.add_subcommand("key", "Keys of the API");
    k->require_subcommand(1);
    auto* n = k->add_subcommand(
        "new", "Make a key: it is shown once, the line for the --keys file goes to stdout");
    n->add_option("name", key_new.name, "whose it is; unique in the file")->required();
    coordinator::KeyLimits& limits = key_new.limits;
    n->add_option("--priority", limits.priority,
                  "interactive, or batch: after the interactive ones")
        ->transform(CLI::Transformer(std::map<std::string, coordinator::Priority>{
            {"interactive", coordinator::Priority::kInteractive},
            {"batch", coordinator::Priority::kBatch}}));
    n->add_flag("--admin", limits.admin, "may take nodes out of use: potluck drain");
    n->add_option("--max-requests", limits.max_requests, "requests at once; 0: no limit");
    n->add_option("--requests-per-minute", limits.requests_per_minute, "0: no limit");
    n->add_option("--tokens-per-minute", limits.tokens_per_minute,
                  "of prompts and answers; 0: no limit");
    n->add_option("--max-tokens", limits.max_tokens,
                  "of one request's prompts and answers; 0: no limit");
    n->add_option("--max-queue-seconds", key_new.max_queue_s,
                  "until the first token; 0: as --queue-timeout says");
    n->callback([this] { exit_code = run_key_new(key_new); });
}

void Program::add_local_commands() {
    auto* r = app.add_subcommand("run", "Complete a prompt in this process, without a network");
    add_local(*r, run.local);
    r->add_option("--prompt", run.prompt, "text to continue; special tokens are parsed")
        ->required();
    r->add_option("--max-tokens", run.max_tokens)->capture_default_str();
    r->add_option("--temperature", run.temperature, "0: greedy")->capture_default_str();
    r->add_option("--seed", run.seed)->capture_default_str();
    r->add_flag("--ids", run.ids, "print token ids instead of text");
    r->add_flag("--ignore-eos", run.ignore_eos, "never end before --max-tokens");
    r->callback([this] { exit_code = run_run(run); });

    auto* p = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
    add_local(*p, perplexity.local);
    p->add_option("--file,-f", perplexity.file, "text")->required();
    p->callback([this] { exit_code = run_perplexity(perplexity); });

    auto* t = app.add_subcommand("tokenize", "Token ids of the text on standard input");
    add_model(*t, tokenize_model);
    t->callback([this] { exit_code = run_tokenize(tokenize_model); });

    auto* s = app.add_subcommand("speculation-table",
                                 "Count what follows what in texts, for --lookup-cache-static");
    add_model(*s, speculation_table.model);
    s->add_option("--make", speculation_table.texts, "text files")->required()->type_name("FILE");
    s->add_option("--out", speculation_table.out, "the table")->required()->type_name("FILE");
    s->callback([this] { exit_code = run_speculation_table(speculation_table); });

    auto* i = app.add_subcommand("inspect", "Show what a model file holds and what is unsupported");
    i->add_option("file", inspect_model, "GGUF file")->required();
    i->add_flag("--brief", inspect_brief, "without the list of tensors");
    i->callback([this] { exit_code = run_inspect_command(inspect_model, !inspect_brief); });
}

void Program::add_bench() {
    auto* b = app.add_subcommand("bench", "Measure how fast a model runs on this machine");
    add_model(*b, bench.model);
    add_cpu(*b, bench.cpu, "CPU threads; 0: all cores");
    b->add_option("--pp", bench.pp, "tokens of a prompt; 0: leave it out")->capture_default_str();
    b->add_option("--tg", bench.tg, "tokens to make; 0: leave it out")->capture_default_str();
    b->add_option("--rows", bench.rows, "rows of a step, e.g. 1,8,16")
        ->delimiter(',')
        ->capture_default_str();
    b->add_option("--depth", bench.depths, "tokens before a decode step, e.g. 0,1024,4096")
        ->delimiter(',');
    b->add_option("--runs", bench.runs, "medians are of so many")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    b->add_option("--prefill-chunk", bench.prefill_chunk, "prompt tokens per step")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    add_kv(*b, bench.kv_type);
    add_rope(*b, bench.rope);
    b->add_flag("--no-limits", bench.no_limits, "do not measure the machine itself");
    auto* json = b->add_flag("--json", bench.json, "print one JSON object");
    b->add_flag("--csv", bench.csv, "print names and values with commas")->excludes(json);
    auto* make = b->add_option("--make", bench.make,
                               "write a model of random weights instead, e.g. qwen3-0.6b:q4_k");
    auto* out = b->add_option("--out", bench.out, "where --make writes it")->needs(make);
    make->type_name("SHAPE:TYPE")->needs(out);
    b->add_option("--seed", bench.seed, "of the random weights")
        ->needs(make)
        ->capture_default_str();
    b->callback([this] { exit_code = run_bench(bench); });
}

/// A number from `least` to `most`.
template <typename Number>
CLI::Option* add_number(CLI::App& command, const char* name, Number& value, double least,
                        double most, const char* text) {
    return command.add_option(name, value, text)
        ->check(CLI::Range(static_cast<Number>(least), static_cast<Number>(most)))
        ->capture_default_str();
}

void add_stages(CLI::App& command, SimulateSchedulerOptions& o) {
    auto* file = command.add_option("--stages-file", o.stages_file,
                                    "measured stages and links as JSON (docs/simulation.md)");
    file->type_name("FILE");
    command
        .add_option("--stages", o.stages,
                    "a number for each stage: how many times as long a step takes it, e.g. 1,2,4")
        ->delimiter(',')
        ->check(CLI::Range(1e-3, 1e3))
        ->excludes(file)
        ->capture_default_str();
    const auto cost = [&](const char* name, double& value, const char* text) {
        add_number(command, name, value, 0, 1e9, text)->excludes(file);
    };
    cost("--base-ms", o.base_ms, "of a step, whatever its rows");
    cost("--row-us", o.row_us, "of a step, for each row");
    cost("--key-ns", o.key_ns, "of a step, for each position that a row looks back to");
    cost("--link-ms", o.link_ms, "delay of each link, the coordinator's two among them");
    cost("--bandwidth-mbit", o.bandwidth_mbit, "of each link; 0: endless");
    cost("--activation-bytes", o.activation_bytes, "of a row between stages");
}

void add_users(CLI::App& command, SimulateSchedulerOptions& o) {
    const auto option = [&](const char* name, auto& value, double least, double most,
                            const char* text) {
        add_number(command, name, value, least, most, text);
    };
    option("--users", o.users, 1, 4096, "who ask, read, think and ask again");
    option("--rate", o.rate, 0, 1e6,
           "requests a second that come whatever the answers; 0: users wait");
    option("--think-s", o.think_s, 0, 1e6, "mean time between an answer and the next request");
    option("--prompt", o.prompt, 1, 1e6, "mean tokens of a prompt");
    option("--answer", o.answer, 1, 1e6, "mean tokens of an answer");
    command.add_option("--spread", o.spread, "of both: fixed, uniform or long")
        ->capture_default_str();
    option("--shared-prefix", o.shared_prefix, 0, 1,
           "share of requests that begin as their tenant's others");
    option("--prefix-tokens", o.prefix_tokens, 0, 1e6, "of such a beginning");
    option("--continued", o.continued, 0, 1, "share of requests that go on with a conversation");
    option("--tenants", o.tenants, 1, 4096, "users are shared out among so many");
}

void Program::add_simulate() {
    auto* s = app.add_subcommand("simulate", "Run parts of a cluster in virtual time");
    s->require_subcommand(1);
    auto* c = s->add_subcommand("scheduler", "The scheduler with many users over modelled stages");
    auto& o = simulate;
    add_stages(*c, o);
    add_users(*c, o);
    const auto limit = [&](const char* name, auto& value, double least, const char* text) {
        add_number(*c, name, value, least, 1e7, text);
    };
    limit("--context", o.context, 2, "positions per request");
    limit("--slots", o.slots, 0, "answers made at once; 0: one for each user");
    limit("--kv-pages", o.kv_pages, 0, "of 64 positions; 0: enough for all slots");
    limit("--max-in-flight", o.max_in_flight, 0, "batches under way; 0: what a plan would say");
    limit("--max-batch-rows", o.max_batch_rows, 1, "rows of a batch");
    limit("--prefill-chunk", o.prefill_chunk, 1, "prompt tokens per batch");
    limit("--queue", o.queue, 1, "requests that wait; more are refused");
    limit("--seconds", o.seconds, 1e-3, "during which users ask");
    c->add_option("--warm-up", o.warm_up_s,
                  "seconds of them that are not measured; default: a sixth");
    c->add_option("--seed", o.seed)->capture_default_str();
    c->add_flag("--no-compare", o.no_compare, "leave out the best constant micro-batching");
    c->add_flag("--json", o.json, "print one JSON object");
    c->callback([this] { exit_code = run_simulate_scheduler(simulate); });
    auto* d = s->add_subcommand("speculation", "One stream with drafts on described hardware");
    d->add_option("scenario", simulate_speculation.scenarios, "YAML files")->required();
    d->add_option("--speculation", simulate_speculation.speculation,
                  "auto, off, or a drafter, e.g. forced:0.7")
        ->capture_default_str();
    d->callback([this] { exit_code = run_simulate_speculation(simulate_speculation); });
}

void Program::add_plan() {
    auto* p = app.add_subcommand("plan", "Say where a model would run best, and how fast");
    p->add_option("model", plan.model,
                  "GGUF file, or SHAPE:TYPE of one that is not at hand, e.g. qwen3-32b:q4_k")
        ->capture_default_str();
    p->add_option("--nodes", plan.nodes,
                  "YAML file that describes the machines; default: this one, measured")
        ->type_name("FILE");
    add_cpu(*p, plan.cpu, "CPU threads of this machine; 0: all cores");
    p->add_option("--objective", plan.objective,
                  "decode (one user), prefill (one prompt) or throughput (all slots)")
        ->transform(CLI::CheckedTransformer(objectives()));
    p->add_option("--context", plan.context,
                  "positions per request; 0: 4096, or what the model was made for if less");
    p->add_option("--slots", plan.slots, "answers made at once")
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
    p->add_option("--prefill-chunk", plan.prefill_chunk, "prompt tokens per batch")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
    p->add_option("--depth", plan.depth,
                  "tokens behind which decoding is predicted; default: half the context");
    p->add_option("--prompt", plan.prompt,
                  "tokens of the prompt that is predicted; default: half the context");
    p->add_flag("--json", plan.json, "print one JSON object");
    p->callback([this] { exit_code = run_plan(plan); });
}

int run_program(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_IGN);
    // CLI11 and the standard library throw; this is where that ends.
    try {
        Program program;
        try {
            program.app.parse(argc, argv);
        } catch (const CLI::ParseError& e) {
            const int code = program.app.exit(e);
            return code == 0 ? 0 : 2;
        }
        return program.exit_code;
    } catch (const std::exception& e) {
        std::cerr << "potluck: internal error: " << e.what() << "\n";
        return 1;
    }
}

}  // namespace
}  // namespace potluck::cli

int main(int argc, char** argv) {
    return potluck::cli::run_program(argc, argv);
}
