#pragma once

// The commands of the program: each takes its options and returns an exit code (0 fine, 1 failed,
// 2 wrong use), having said on stderr what went wrong.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/devices.h"
#include "coordinator/core/admission.h"
#include "coordinator/planner/planner.h"

namespace potluck::cli {

/// The bundled model, found beside the program's build or in the share folder of an installation.
std::string default_model();

/// Rotary positions instead of the file's; empty or 0: the file's.
struct RopeOptions {
    std::string scaling;
    double factor = 0;
    double base = 0;
};

struct LocalModelOptions {
    std::string model;
    std::string device = "cpu";
    DeviceOptions cpu;
    std::uint32_t context = 0;
    std::uint32_t prefill_chunk = 256;
    std::string kv_type = "f16";
    RopeOptions rope;
    bool verbose = false;
};

struct RunOptions {
    LocalModelOptions local;
    std::string prompt;
    std::uint32_t max_tokens = 128;
    float temperature = 0;
    std::uint64_t seed = 0;
    bool ids = false;  ///< print token ids instead of text
    bool ignore_eos = false;
};
int run_run(const RunOptions& options);

struct PerplexityOptions {
    LocalModelOptions local;
    std::string file;
};
int run_perplexity(const PerplexityOptions& options);

struct BenchOptions {
    std::string model;
    DeviceOptions cpu;
    std::size_t pp = 512;
    std::size_t tg = 64;
    std::vector<std::size_t> rows = {1, 8, 16};
    std::vector<std::size_t> depths;
    std::size_t runs = 3;
    std::size_t prefill_chunk = 256;
    std::string kv_type = "f16";
    RopeOptions rope;
    bool no_limits = false;
    bool json = false;
    bool csv = false;
    std::string make;  ///< "SHAPE:TYPE": write such a model to `out` and measure nothing
    std::string out;
    std::uint64_t seed = 1;
};
int run_bench(const BenchOptions& options);

struct SimulateSchedulerOptions {
    std::vector<double> stages = {1, 1};  ///< how many times as long as the cost below each takes
    std::string stages_file;              ///< instead of stages, cost and links
    double base_ms = 5;
    double row_us = 50;
    double key_ns = 1;
    double link_ms = 0.3;
    double bandwidth_mbit = 1000;
    double activation_bytes = 16384;
    std::size_t users = 64;
    double rate = 0;
    double think_s = 2;
    std::size_t prompt = 512;
    std::size_t answer = 128;
    std::string spread = "uniform";
    double shared_prefix = 0.5;
    std::size_t prefix_tokens = 256;
    double continued = 0;
    std::size_t tenants = 1;
    std::size_t context = 4096;
    std::size_t slots = 0;
    std::size_t kv_pages = 0;
    std::size_t max_in_flight = 0;
    std::size_t max_batch_rows = 512;
    std::size_t prefill_chunk = 256;
    std::size_t queue = 256;
    double seconds = 60;
    double warm_up_s = -1;  ///< negative: a sixth of `seconds`
    std::uint64_t seed = 1;
    bool no_compare = false;
    bool json = false;
};
int run_simulate_scheduler(const SimulateSchedulerOptions& options);

struct SimulateSpeculationOptions {
    std::vector<std::string> scenarios;  ///< files
    std::string speculation = "auto";
};
int run_simulate_speculation(const SimulateSpeculationOptions& options);
struct PlanCommandOptions {
    std::string model;  ///< a file, or "SHAPE:TYPE" of one that is not at hand
    std::string nodes;  ///< inventory; empty: this machine, measured
    DeviceOptions cpu;
    planner::Objective objective = planner::Objective::kDecode;
    std::uint32_t context = 0;  ///< 0: 4096, or what the model was made for if that is less
    std::uint32_t slots = 4;
    std::uint32_t prefill_chunk = 256;
    std::optional<std::uint32_t> depth;  ///< empty: half the context
    std::uint32_t prompt = 0;            ///< 0: half the context
    bool json = false;
};
int run_plan(const PlanCommandOptions& options);

/// A table of n-grams for ClusterOptions::static_table.
struct SpeculationTableOptions {
    std::string model;
    std::vector<std::string> texts;  ///< files
    std::string out;
};
int run_speculation_table(const SpeculationTableOptions& options);

int run_tokenize(const std::string& model);
int run_inspect_command(const std::string& model, bool tensors);

struct ClusterOptions {
    std::string model;
    std::uint32_t workers = 1;
    std::string devices = "cpu";     ///< of each worker that `up` starts
    std::vector<std::string> paces;  ///< of the workers' devices; one for all, or one for each
    DeviceOptions cpu;
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;
    std::string dir;     ///< of `coordinator`: where `init` put the cluster
    std::string listen;  ///< for workers, of `coordinator`; empty: the cluster's port, everywhere
    std::string weights_cache;       ///< empty: the default one
    std::uint64_t weights_rate = 0;  ///< bytes per second to all workers; 0: no limit
    std::vector<std::uint32_t> split;
    /// What the planner's choice is the best for; empty: decode, and throughput for `up`.
    std::optional<planner::Objective> objective;
    bool use_all = false;  ///< of `coordinator`: every device gets a stage, as with `up`
    std::uint32_t context = 0;
    std::uint32_t slots = 8;
    std::uint64_t kv_tokens = 0;      ///< 0: context times slots, or what memory has
    std::uint32_t prefill_chunk = 0;  ///< 0: as measured step times say
    std::string keys;  ///< file of those who may use the API; empty: everybody on this machine
    bool insecure_no_keys = false;
    bool share_prefixes = false;
    std::string speculation = "auto";   ///< of requests that do not say: off, auto or a drafter
    bool test_drafters = false;         ///< those for benchmarks too
    std::size_t test_stage_drafts = 0;  ///< of `up`: WorkerCommandOptions' of its workers
    std::string draft_model;            ///< GGUF file of a drafter; empty: none
    std::size_t draft_threads = 1;
    std::size_t draft_context = 0;    ///< positions; 0: what it was made for, up to a bound
    std::string draft_node;           ///< name, or "auto"; empty: this machine
    std::string static_table;         ///< of ngram_cache; empty: none
    std::uint32_t queue_limit = 256;  ///< requests that wait; more are refused
    double queue_timeout_s = 600;     ///< 0: none
    double request_timeout_s = 0;
    double patience_s = 60;           ///< that requests wait for a pipeline after a loss
    std::uint32_t silence_ms = 750;   ///< after which a worker is taken for dead
    double certificate_hours = 8760;  ///< of `coordinator`: of those that it signs
    std::string kv_type = "f16";
    RopeOptions rope;
    bool verbose = false;
};
/// A coordinator and local workers as processes of their own.
int run_up(const ClusterOptions& options);
int run_coordinator(const ClusterOptions& options);

struct WorkerCommandOptions {
    std::string join;         ///< token, "-": on standard input; empty: it has joined before
    std::string dir;          ///< where its certificate is kept
    std::string coordinator;  ///< another address than the one that it joined at
    int identity_fd = -1;     ///< of a worker of `up`: a pipe instead of `dir`
    std::string name;
    std::string listen = "0.0.0.0:0";
    std::string devices = "cpu";
    DeviceOptions cpu;
    std::uint64_t memory_bytes = 0;
    std::uint32_t silence_ms = 750;     ///< after which the coordinator is taken for dead
    bool measure = false;               ///< again, even if this machine was measured before
    std::size_t test_stage_drafts = 0;  ///< tokens that a last stage proposes; for tests
    std::string weights_cache;          ///< empty: the default one
    std::uint64_t weights_cache_bytes = 0;
    std::uint64_t weights_rate = 0;
    bool no_local_files = false;
    std::string quiet_hours;               ///< "18:00-23:30,…"; empty: none
    std::uint64_t yield_memory_below = 0;  ///< bytes that are to stay available; 0: not looked at
    bool yield_gpu = false;                ///< while another process uses a GPU
    std::vector<std::string> yield_hooks;  ///< files or commands
    double yield_calm_s = 60;
    bool verbose = false;
};
int run_worker(const WorkerCommandOptions& options);

/// Makes a cluster: its authority, the coordinator's certificate, a join token.
struct InitOptions {
    std::string dir;
    std::string address;  ///< where workers will find the coordinator; empty: as good as we know
    double hours = 24;    ///< of the first token
    std::uint32_t uses = 16;
};
int run_init(const InitOptions& options);

struct TokenOptions {
    std::string dir;
    double hours = 24;
    std::uint32_t uses = 1;
    std::string id;  ///< to revoke
};
int run_token_new(const TokenOptions& options);
int run_token_list(const TokenOptions& options);
int run_token_revoke(const TokenOptions& options);

struct KeyNewOptions {
    std::string name;
    coordinator::KeyLimits limits;
    std::uint32_t max_queue_s = 0;
};
/// The line for the keys file on stdout, the key itself on stderr.
int run_key_new(const KeyNewOptions& options);

struct ChatCommandOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;
    std::string message;  ///< empty: interactive
    std::string system;
    std::uint32_t max_tokens = 0;
    float temperature = -1;  ///< negative: the server's default
    std::string key;         ///< for clusters with keys
};
int run_chat(const ChatCommandOptions& options);
int run_status(const std::string& host, std::uint16_t port);

struct NodesOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;
    std::string key;
    bool json = false;
};
/// The machines of a running cluster, what they were measured to do, and its plan.
int run_nodes(const NodesOptions& options);

struct RevokeOptions {
    std::string dir;
    std::string node;
};
/// The node's certificate counts no more, also in a coordinator that runs.
int run_nodes_revoke(const RevokeOptions& options);

struct DrainOptions {
    std::string host = "127.0.0.1";
    std::uint16_t port = 8080;
    std::string key;
    std::string node;
    bool force = false;  ///< of drain: also if the others cannot hold the model
    double wait_s = 30;  ///< of drain: for the memory to be given back
};
/// Takes a node of a running cluster out of use, or back.
int run_drain(const DrainOptions& options);
int run_undrain(const DrainOptions& options);

}  // namespace potluck::cli
