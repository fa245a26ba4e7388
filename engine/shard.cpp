#include "engine/shard.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "engine/page_keeper.h"
#include "engine/shard_memory.h"
#include "engine/steps.h"
#include "engine/token_history.h"
#include "engine/weight_pool.h"
#include "kernels/api/ops.h"
#include "model/sampler/sampler.h"

namespace potluck::engine {
namespace {

/// Logits of at most this many rows exist at once.
constexpr std::size_t kHeadRows = 32;

}  // namespace

struct Shard::Impl {
    Impl(kernels::Device& d, model::Graph g, model::ModelConfig c, const ShardOptions& o)
        : device(d),
          graph(std::move(g)),
          config(std::move(c)),
          options(o),
          pages(o.kv_pages, kernels::kPageTokens, o.max_length),
          history(o.max_length),
          sampler(config.vocabulary),
          stream(d.create_stream()) {}

    Status load(const std::shared_ptr<const model::gguf::Gguf>& file, WeightPool& pool,
                const LoadProgress& progress);
    Status take_kept(std::vector<LayerCache>& layers);
    void leave_pages();
    Status run(const Batch& batch, std::span<const float> input, std::span<float> output,
               StepResult& result);

    bool given_up() const { return owner != nullptr && owner->is_given_up(); }
    Status check(const Batch& batch, std::span<const float> input, std::span<float> output) const;
    std::int32_t table_of(SeqId seq);
    Status place_rows(const Batch& batch);
    void gather_rows(const Batch& batch, bool kept);
    Status upload_batch();
    Status run_body(std::span<const float> input, std::span<const SizedStep> steps);
    Status run_rows(const Batch& batch, std::span<const float> input, std::span<float> output,
                    StepResult& result);
    Status copy_pages();
    template <typename Copy>
    Status each_range(Copy&& copy) const;
    Status upload_input(std::span<const float> input);
    Status download_output(std::span<float> output);
    Status run_head(const Batch& batch, StepResult& result);
    void sample(const Row& row, std::span<float> logits, StepResult& result);

    template <typename T>
    Status upload(const kernels::Buffer& to, const std::vector<T>& from) {
        return stream->upload(to.data(), std::as_bytes(std::span(from)));
    }
    float* at(model::ValueId v) const { return slots[plan.slot_of[v.index]]->as<float>(); }

    kernels::Device& device;
    model::Graph graph;
    model::ModelConfig config;
    ShardOptions options;
    PageTable pages;
    TokenHistory history;
    model::Sampler sampler;
    std::unique_ptr<kernels::Stream> stream;
    LogitsObserver observer;
    const Shard* owner = nullptr;  ///< knows whether the batch that runs is given up
    std::string source;            ///< of the weights
    bool failed = false;           ///< a batch: nothing here is defined any more
    LayerIndex kept_from = 0;
    std::size_t kept_steps = 0;  ///< of the body, for rows at kept positions

    BufferPlan plan;
    std::vector<std::unique_ptr<kernels::Buffer>> slots;
    std::vector<std::shared_ptr<const Weight>> weights;
    std::vector<LayerCache> cache_memory;
    std::vector<kernels::KvCache> caches;
    BatchMemory memory;
    std::vector<SizedStep> body, head;

    // Host copies of the batch memory; they stay untouched until the stream is synchronised.
    // They hold the rows that are computed: all but junk.
    std::vector<std::int32_t> tokens, positions, row_slots, row_tables, page_tables, sampled;
    std::vector<std::size_t> computed;  ///< of the batch's rows
    std::vector<std::int32_t> places;   ///< of all the batch's rows
    std::vector<bool> at_kept;          ///< of all the batch's rows: the position was kept
    std::size_t skipped = 0;            ///< of the batch's rows
    std::vector<PageCopy> copies;
    std::vector<SeqId> batch_sequences;  ///< of this batch, in order of their page tables
    std::vector<float> logits;
    std::vector<float> raw_logits;  ///< one row, kept where its log-probabilities are asked for
};

Status Shard::Impl::load(const std::shared_ptr<const model::gguf::Gguf>& file, WeightPool& pool,
                         const LoadProgress& progress) {
    POTLUCK_TRY(check_device(device, *file, graph, config, options.kv));
    source = WeightPool::source_of(*file);
    std::vector<LayerCache> kept;
    POTLUCK_TRY(take_kept(kept));
    POTLUCK_ASSIGN(weights,
                   load_weights(device, file, source, graph, pool, progress, options.cancelled));
    POTLUCK_ASSIGN(cache_memory, allocate_caches(device, config, options, std::move(kept)));
    for (const auto& layer : cache_memory) {
        caches.push_back({.k = layer.k->data(),
                          .v = layer.v->data(),
                          .n_pages = options.kv_pages,
                          .kv_heads = config.kv_heads,
                          .head_dim = config.head_dim,
                          .k_type = options.kv.k,
                          .v_type = options.kv.v});
    }
    POTLUCK_ASSIGN(memory, allocate_batch_memory(device, graph, config, options));
    plan = plan_buffers(graph);
    const std::size_t head_rows = std::min(kHeadRows, options.max_rows);
    for (const auto& slot : plan.slots) {
        const std::size_t rows = slot.head ? head_rows : options.max_rows;
        POTLUCK_ASSIGN(auto buffer, device.allocate(rows * slot.width * sizeof(float)));
        slots.push_back(std::move(buffer));
    }
    const BindContext context{graph, config, plan, slots, weights, caches, memory};
    body = bind_steps(context, graph.body);
    head = bind_steps(context, graph.head);
    kept_steps = steps_to_store(body, kept_from - graph.shard.begin);

    for (auto* v : {&tokens, &positions, &row_slots, &row_tables, &sampled, &places})
        v->reserve(options.max_rows);
    at_kept.reserve(options.max_rows);
    computed.reserve(options.max_rows);
    page_tables.reserve(options.max_rows * memory.table_stride);
    copies.reserve(options.max_rows);
    batch_sequences.reserve(options.max_rows);
    if (graph.shard.head) {
        logits.resize(head_rows * graph.widths[graph.logits.index]);
        raw_logits.reserve(graph.widths[graph.logits.index]);
    }
    return {};
}

/// Frees what the device still has of earlier stages but for the layers that are to be kept. What
/// cannot be kept is no error: kept_from says so.
Status Shard::Impl::take_kept(std::vector<LayerCache>& layers) {
    kept_from = graph.shard.end;
    if (options.keeper == nullptr) return {};
    const KeepRequest nothing{.from = graph.shard.end};
    const KeepRequest& request = options.keep ? *options.keep : nothing;
    auto left =
        options.keeper->take(request, source, options.kv, graph.shard.begin, graph.shard.end);
    if (left.layers.empty()) return {};
    if (auto kept = pages.keep(left.pages, request.sequences); !kept) {
        log::warning("layers {}..{} are computed again: {}", graph.shard.begin, graph.shard.end,
                     kept.error().message);
        return {};
    }
    kept_from = left.begin;
    layers = std::move(left.layers);
    return {};
}

void Shard::Impl::leave_pages() {
    if (options.keeper == nullptr || failed) return;
    options.keeper->put({.epoch = options.epoch,
                         .source = source,
                         .kv = options.kv,
                         .begin = graph.shard.begin,
                         .end = graph.shard.end,
                         .layers = std::move(cache_memory),
                         .pages = std::move(pages)});
}

Status Shard::Impl::check(const Batch& batch, std::span<const float> input,
                          std::span<float> output) const {
    const std::size_t n = batch.rows.size();
    if (n > options.max_rows) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("batch {} has {} rows, this stage takes {}", batch.id.value, n,
                                 options.max_rows));
    }
    const std::size_t in = graph.shard.embedding ? 0 : n * config.width;
    const std::size_t out = graph.shard.head ? 0 : n * config.width;
    if (input.size() != in || output.size() != out) {
        return error(
            ErrorCode::kCorrupt,
            fmt::format(
                "batch {}: {} rows come with {} and leave with {} values, expected {} and {}",
                batch.id.value, n, input.size(), output.size(), in, out));
    }
    for (const auto& row : batch.rows) {
        if (row.token < 0 || static_cast<std::uint32_t>(row.token) >= config.vocabulary) {
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("sequence {}: token {} is not in the vocabulary of {}",
                                     row.seq.value, row.token, config.vocabulary));
        }
    }
    return {};
}

/// The page table of a sequence within this batch. Rows of a sequence come together, so the last
/// one is nearly always it.
std::int32_t Shard::Impl::table_of(SeqId seq) {
    if (batch_sequences.empty() || batch_sequences.back() != seq) {
        const auto found = std::find(batch_sequences.begin(), batch_sequences.end(), seq);
        if (found != batch_sequences.end()) {
            return static_cast<std::int32_t>(found - batch_sequences.begin());
        }
        batch_sequences.push_back(seq);
    }
    return static_cast<std::int32_t>(batch_sequences.size() - 1);
}

/// Gives every row its place in the cache.
Status Shard::Impl::place_rows(const Batch& batch) {
    copies.clear();
    places.clear();
    at_kept.clear();
    const bool some_kept = kept_from < graph.shard.end;
    for (const Row& row : batch.rows) {
        const bool kept = some_kept && row.position < pages.kept(row.seq);
        POTLUCK_ASSIGN(const std::int32_t place, pages.append(row.seq, row.position, copies));
        if (graph.shard.head) history.record(row);
        places.push_back(place);
        at_kept.push_back(kept);
        if (kept) ++skipped;
    }
    return {};
}

/// Fills the host copies with the rows to compute, either those at kept positions or the others.
void Shard::Impl::gather_rows(const Batch& batch, bool kept) {
    for (auto* v : {&tokens, &positions, &row_slots, &row_tables, &page_tables, &sampled})
        v->clear();
    computed.clear();
    batch_sequences.clear();
    for (std::size_t i = 0; i < batch.rows.size(); ++i) {
        const Row& row = batch.rows[i];
        if ((row.flags & kRowJunk) != 0 || at_kept[i] != kept) continue;
        computed.push_back(i);
        tokens.push_back(row.token);
        positions.push_back(static_cast<std::int32_t>(row.position));
        row_slots.push_back(places[i]);
        row_tables.push_back(table_of(row.seq));
        if ((row.flags & kRowSample) != 0) {
            sampled.push_back(static_cast<std::int32_t>(tokens.size() - 1));
        }
    }
    page_tables.resize(batch_sequences.size() * memory.table_stride);
    for (std::size_t table = 0; table < batch_sequences.size(); ++table) {
        const auto used = pages.pages(batch_sequences[table]);
        std::copy(used.begin(), used.end(),
                  page_tables.begin() + static_cast<std::ptrdiff_t>(table * memory.table_stride));
    }
}

Status Shard::Impl::upload_batch() {
    POTLUCK_TRY(upload(*memory.tokens, tokens));
    POTLUCK_TRY(upload(*memory.positions, positions));
    POTLUCK_TRY(upload(*memory.slots, row_slots));
    POTLUCK_TRY(upload(*memory.row_tables, row_tables));
    POTLUCK_TRY(upload(*memory.page_tables, page_tables));
    if (!sampled.empty()) POTLUCK_TRY(upload(*memory.sampled, sampled));
    return {};
}

Status Shard::Impl::copy_pages() {
    if (copies.empty()) return {};
    POTLUCK_TRY(upload(*memory.copies, copies));
    for (const auto& cache : caches) {
        POTLUCK_TRY(device.ops().kv_copy(*stream, {.pages = memory.copies->as<std::int32_t>(),
                                                   .n_copies = copies.size(),
                                                   .cache = cache}));
    }
    return {};
}

Status Shard::Impl::run(const Batch& batch, std::span<const float> input, std::span<float> output,
                        StepResult& result) {
    result.batch = batch.id;
    result.rows.clear();
    result.entries.clear();
    skipped = 0;
    POTLUCK_TRY(check(batch, input, output));
    for (const auto& operation : batch.operations) {
        POTLUCK_TRY(pages.apply(operation));
        if (graph.shard.head) history.apply(operation);
    }
    if (batch.rows.empty()) return {};
    POTLUCK_TRY(place_rows(batch));
    // Whoever computes: a page that a junk row made its sequence's own is read by rows after it.
    POTLUCK_TRY(copy_pages());
    if (skipped > 0 && kept_steps > 0) {
        gather_rows(batch, true);
        POTLUCK_TRY(run_body(input, std::span(body).first(kept_steps)));
        // The host copies are filled again.
        POTLUCK_TRY(stream->synchronize());
    }
    gather_rows(batch, false);
    if (computed.empty()) return stream->synchronize();
    return run_rows(batch, input, output, result);
}

/// The first steps of the body on the gathered rows.
Status Shard::Impl::run_body(std::span<const float> input, std::span<const SizedStep> steps) {
    const std::size_t n_rows = computed.size();
    if (n_rows == 0) return {};
    POTLUCK_TRY(upload_batch());
    if (!graph.shard.embedding) POTLUCK_TRY(upload_input(input));
    POTLUCK_TRY(
        device.ops().rope_angles(*stream, {.positions = memory.positions->as<std::int32_t>(),
                                           .n_rows = n_rows,
                                           .inv_freq = memory.inv_freq->as<double>(),
                                           .n_pairs = config.rotary.inv_freq.size(),
                                           .magnitude = config.rotary.magnitude,
                                           .angles = memory.angles->as<float>()}));
    const auto asks = [this] { return given_up(); };
    return run_steps(*stream, device.ops(), steps, n_rows, asks);
}

/// The gathered rows from beginning to end.
Status Shard::Impl::run_rows(const Batch& batch, std::span<const float> input,
                             std::span<float> output, StepResult& result) {
    POTLUCK_TRY(run_body(input, body));
    if (given_up()) return stream->synchronize();
    if (graph.shard.head) return run_head(batch, result);
    POTLUCK_TRY(download_output(output));
    return stream->synchronize();
}

/// Calls copy(row of the batch, row here, how many) for computed rows that follow one another.
template <typename Copy>
Status Shard::Impl::each_range(Copy&& copy) const {
    for (std::size_t first = 0; first < computed.size();) {
        std::size_t end = first + 1;
        while (end < computed.size() && computed[end] == computed[end - 1] + 1)
            ++end;
        POTLUCK_TRY(copy(computed[first], first, end - first));
        first = end;
    }
    return {};
}

Status Shard::Impl::upload_input(std::span<const float> input) {
    const std::size_t width = config.width;
    return each_range([&](std::size_t row, std::size_t here, std::size_t n) {
        return stream->upload(reinterpret_cast<std::byte*>(at(graph.input) + here * width),
                              std::as_bytes(input.subspan(row * width, n * width)));
    });
}

Status Shard::Impl::download_output(std::span<float> output) {
    const std::size_t width = config.width;
    return each_range([&](std::size_t row, std::size_t here, std::size_t n) {
        return stream->download(
            std::as_writable_bytes(output.subspan(row * width, n * width)),
            reinterpret_cast<const std::byte*>(at(graph.output) + here * width));
    });
}

/// Logits and samples of the rows that want them, a few at a time.
Status Shard::Impl::run_head(const Batch& batch, StepResult& result) {
    const std::size_t width = graph.widths[graph.logits.index];
    const std::size_t at_once = logits.size() / width;
    for (std::size_t first = 0; first < sampled.size(); first += at_once) {
        const std::size_t n = std::min(at_once, sampled.size() - first);
        POTLUCK_TRY(device.ops().gather_rows(*stream,
                                             {.x = at(graph.output),
                                              .indices = memory.sampled->as<std::int32_t>() + first,
                                              .n_rows = n,
                                              .width = config.width,
                                              .out = at(graph.head_input)}));
        const auto asks = [this] { return given_up(); };
        POTLUCK_TRY(run_steps(*stream, device.ops(), head, n, asks));
        if (given_up()) break;
        const std::span<float> chunk(logits.data(), n * width);
        POTLUCK_TRY(stream->download(std::as_writable_bytes(chunk),
                                     reinterpret_cast<const std::byte*>(at(graph.logits))));
        POTLUCK_TRY(stream->synchronize());
        for (std::size_t i = 0; i < n; ++i) {
            const auto row = static_cast<std::size_t>(sampled[first + i]);
            sample(batch.rows[computed[row]], chunk.subspan(i * width, width), result);
        }
    }
    return stream->synchronize();
}

void Shard::Impl::sample(const Row& row, std::span<float> values, StepResult& result) {
    if (observer) observer(row, values);
    ResultRow out{.seq = row.seq, .position = row.position, .generation = row.generation};
    const bool with_logprobs = row.logprobs != kNoLogprobs;
    const std::size_t first_entry = result.entries.size();
    double log_sum = 0;
    if (with_logprobs) {
        log_sum = sampler.log_sum_exp(values);
        sampler.best(values, row.logprobs, log_sum, result.entries);
    }
    out.n_top = static_cast<std::uint16_t>(result.entries.size() - first_entry);
    // The sampler changes the logits; the chosen token's own comes from before.
    const SamplerSpec& spec = history.sampler(row.seq);
    if (with_logprobs) raw_logits.assign(values.begin(), values.end());
    out.token = sampler.sample(values, spec, history.until(row.seq, row.position), row.position);
    if (with_logprobs) {
        const float raw = raw_logits[static_cast<std::size_t>(out.token)];
        out.logprob = static_cast<float>(static_cast<double>(raw) - log_sum);
    }
    if (options.drafter) {
        const std::size_t before = result.entries.size();
        options.drafter->propose(history.until(row.seq, row.position), out.token, result.entries);
        out.n_proposed = static_cast<std::uint16_t>(result.entries.size() - before);
    }
    result.rows.push_back(out);
}

Shard::Shard(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Shard::~Shard() {
    impl_->leave_pages();
}

Result<std::unique_ptr<Shard>> Shard::load(std::shared_ptr<const model::gguf::Gguf> file,
                                           const model::ModelDescription& model,
                                           kernels::Device& device, const ShardOptions& options,
                                           const LoadProgress& progress, WeightPool* pool) {
    if (options.max_rows == 0 || options.max_length == 0) {
        return error(ErrorCode::kInvalidArgument, "a shard needs room for at least one row");
    }
    POTLUCK_ASSIGN(model::Graph graph, model::build_shard(*file, model, options.part));
    auto impl = std::make_unique<Impl>(device, std::move(graph), model.config, options);
    WeightPool own;
    POTLUCK_TRY(impl->load(file, pool == nullptr ? own : *pool, progress));
    auto shard = std::unique_ptr<Shard>(new Shard(std::move(impl)));
    shard->impl_->owner = shard.get();
    return shard;
}

std::size_t Shard::input_width() const {
    return impl_->graph.shard.embedding ? 0 : impl_->config.width;
}
std::size_t Shard::output_width() const {
    return impl_->graph.shard.head ? 0 : impl_->config.width;
}
std::size_t Shard::max_rows() const {
    return impl_->options.max_rows;
}
Status Shard::run(const Batch& batch, std::span<const float> input, std::span<float> output,
                  StepResult& result) {
    auto ran = impl_->run(batch, input, output, result);
    if (!ran) impl_->failed = true;
    return ran;
}
std::size_t Shard::room() const {
    return impl_->pages.free_pages() * kernels::kPageTokens;
}
bool Shard::keeps() const {
    const auto& keep = impl_->options.keep;
    return keep && impl_->kept_from < impl_->graph.shard.end;
}
std::size_t Shard::skipped_rows() const {
    return impl_->skipped;
}
LayerIndex Shard::kept_from() const {
    return impl_->kept_from;
}
void Shard::observe_logits(LogitsObserver observer) {
    impl_->observer = std::move(observer);
}
const PageTable& Shard::pages() const {
    return impl_->pages;
}

std::uint64_t Shard::weight_bytes() const {
    std::uint64_t total = 0;
    for (const auto& weight : impl_->weights) {
        total += weight->matrix ? weight->matrix->bytes() : weight->vector->size();
    }
    return total;
}
std::uint64_t Shard::kv_bytes() const {
    std::uint64_t total = 0;
    for (const auto& layer : impl_->cache_memory)
        total += layer.k->size() + layer.v->size();
    return total;
}

}  // namespace potluck::engine
