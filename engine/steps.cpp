#include "engine/steps.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/check.h"

namespace potluck::engine {
namespace {

using model::Node;
using model::NodeKind;

class Binder {
  public:
    explicit Binder(const BindContext& c) : c_(c) {}

    void bind(const Node& node) {
        switch (node.kind) {
            case NodeKind::kEmbed:
                push(kernels::EmbedArgs{.weight = matrix(node.weight),
                                        .tokens = c_.memory.tokens->as<std::int32_t>(),
                                        .out = at(node.out)});
                break;
            case NodeKind::kRmsNorm:
                push(kernels::RmsNormArgs{.x = at(node.a),
                                          .weight = vector(node.weight),
                                          .width = node.group,
                                          .epsilon = c_.config.rms_epsilon,
                                          .out = at(node.out)},
                     width(node.a) / node.group);
                break;
            case NodeKind::kMatmul:
                matmul(node);
                break;
            case NodeKind::kRotate:
                rotate(node);
                break;
            case NodeKind::kAttention:
                attention(node);
                break;
            case NodeKind::kSwiglu:
                push(kernels::SwigluArgs{.gate = at(node.a), .up = at(node.b), .out = at(node.out)},
                     width(node.a));
                break;
            case NodeKind::kAdd:
                push(kernels::AddArgs{.a = at(node.a), .b = at(node.b), .out = at(node.out)},
                     width(node.a));
                break;
        }
    }

    std::vector<SizedStep> take() { return std::move(steps_); }

  private:
    float* at(model::ValueId v) const { return c_.slots[c_.plan.slot_of[v.index]]->as<float>(); }
    std::size_t width(model::ValueId v) const { return c_.graph.widths[v.index]; }
    const kernels::PackedWeight* matrix(model::WeightIndex i) const {
        return c_.weights[i]->matrix.get();
    }
    const float* vector(model::WeightIndex i) const {
        return i == model::kNoWeight ? nullptr : c_.weights[i]->vector->as<float>();
    }
    /// A product whose activations are int8.
    bool is_quantised(const Node& product) const {
        return kernels::activation_form(matrix(product.weight)->type()) ==
               kernels::ActivationForm::kInt8x32;
    }
    void push(Step step, std::size_t per_row = 1) { steps_.push_back({step, per_row}); }

    void matmul(const Node& node) {
        const auto* weight = matrix(node.weight);
        const std::byte* activations = reinterpret_cast<const std::byte*>(at(node.a));
        if (is_quantised(node)) {
            activations = c_.memory.activations->data();
            if (quantised_ != node.a) quantize(node.a);
        }
        const kernels::MatmulArgs product{.weight = weight,
                                          .activations = activations,
                                          .bias = vector(node.bias),
                                          .out = at(node.out)};
        // Products of the same value that follow one another become one step.
        auto* group =
            steps_.empty() ? nullptr : std::get_if<kernels::MatmulGroupArgs>(&steps_.back().step);
        if (group == nullptr || multiplied_ != node.a ||
            group->products[0].activations != activations ||
            group->n_products == kernels::MatmulGroupArgs::kMax) {
            push(kernels::MatmulGroupArgs{});
            group = &std::get<kernels::MatmulGroupArgs>(steps_.back().step);
        }
        group->products[group->n_products++] = product;
        multiplied_ = node.a;
    }

    /// The int8 form of `v`, which products of the same value share. If only products read `v` and
    /// the last step made it, the two become one step.
    void quantize(model::ValueId v) {
        std::byte* const out = c_.memory.activations->data();
        quantised_ = v;
        if (!steps_.empty() && only_multiplied(v)) {
            SizedStep& last = steps_.back();
            const auto* norm = std::get_if<kernels::RmsNormArgs>(&last.step);
            if (norm != nullptr && norm->out == at(v) && norm->width == width(v)) {
                last.step = kernels::RmsNormQuantizeArgs{.norm = *norm, .out = out};
                return;
            }
            const auto* swiglu = std::get_if<kernels::SwigluArgs>(&last.step);
            if (swiglu != nullptr && swiglu->out == at(v)) {
                last.step =
                    kernels::SwigluQuantizeArgs{.swiglu = *swiglu, .columns = width(v), .out = out};
                return;
            }
        }
        push(kernels::QuantizeArgs{.x = at(v), .columns = width(v), .out = out});
    }

    /// Nothing but quantised products reads `v`.
    bool only_multiplied(model::ValueId v) const {
        if (v == c_.graph.output) return false;
        const auto reads_values = [&](const Node& node) {
            if (node.a != v && node.b != v && node.c != v) return false;
            return node.kind != NodeKind::kMatmul || !is_quantised(node);
        };
        // What made `v` has it as its out, which is no reading.
        return std::none_of(c_.graph.body.begin(), c_.graph.body.end(), reads_values) &&
               std::none_of(c_.graph.head.begin(), c_.graph.head.end(), reads_values);
    }

    void rotate(const Node& node) {
        const auto& rotary = c_.config.rotary;
        push(kernels::RopeArgs{.x = at(node.a),
                               .n_heads = width(node.a) / c_.config.head_dim,
                               .head_dim = c_.config.head_dim,
                               .n_pairs = rotary.inv_freq.size(),
                               .pairing = rotary.pairing == model::RotaryPairing::kHalves
                                              ? kernels::RopePairing::kHalves
                                              : kernels::RopePairing::kNeighbours,
                               .angles = c_.memory.angles->as<float>()});
    }

    void attention(const Node& node) {
        const auto& cache = c_.caches[node.layer - c_.graph.shard.begin];
        push(kernels::KvStoreArgs{.k = at(node.b),
                                  .v = at(node.c),
                                  .slots = c_.memory.slots->as<std::int32_t>(),
                                  .cache = cache});
        push(kernels::AttentionArgs{
            .q = at(node.a),
            .heads = c_.config.heads,
            .scale = 1.0F / std::sqrt(static_cast<float>(c_.config.head_dim)),
            .positions = c_.memory.positions->as<std::int32_t>(),
            .row_tables = c_.memory.row_tables->as<std::int32_t>(),
            .page_tables = c_.memory.page_tables->as<std::int32_t>(),
            .table_stride = c_.memory.table_stride,
            .cache = cache,
            .scratch = c_.memory.attention_scratch->data(),
            .scratch_bytes = c_.memory.attention_scratch->size(),
            .out = at(node.out)});
    }

    const BindContext& c_;
    std::vector<SizedStep> steps_;
    std::optional<model::ValueId> quantised_;   ///< whose int8 form is there
    std::optional<model::ValueId> multiplied_;  ///< by the last product
};

struct Caller {
    kernels::Stream& stream;
    const kernels::OpTable& ops;
    std::size_t n;  ///< rows, groups or values, as the op counts

    Status operator()(kernels::EmbedArgs a) const { return rows(ops.embed, a); }
    Status operator()(kernels::RmsNormArgs a) const { return rows(ops.rms_norm, a); }
    Status operator()(kernels::QuantizeArgs a) const { return rows(ops.quantize, a); }
    Status operator()(kernels::MatmulGroupArgs a) const {
        for (auto& product : std::span(a.products).first(a.n_products))
            product.n_rows = n;
        if (ops.matmul_group != nullptr) return ops.matmul_group(stream, a);
        for (const auto& product : std::span(a.products).first(a.n_products))
            POTLUCK_TRY(ops.matmul(stream, product));
        return {};
    }
    Status operator()(kernels::RopeArgs a) const { return rows(ops.rope, a); }
    Status operator()(kernels::KvStoreArgs a) const { return rows(ops.kv_store, a); }
    Status operator()(kernels::AttentionArgs a) const { return rows(ops.attention, a); }
    Status operator()(kernels::SwigluArgs a) const { return values(ops.swiglu, a); }
    Status operator()(kernels::AddArgs a) const { return values(ops.add, a); }
    Status operator()(kernels::RmsNormQuantizeArgs a) const {
        a.norm.n_rows = n;
        if (ops.rms_norm_quantize != nullptr) return ops.rms_norm_quantize(stream, a);
        POTLUCK_TRY(ops.rms_norm(stream, a.norm));
        return quantize_rows(a.norm.out, n, a.norm.width, a.out);
    }
    Status operator()(kernels::SwigluQuantizeArgs a) const {
        a.swiglu.n = n;
        if (ops.swiglu_quantize != nullptr) return ops.swiglu_quantize(stream, a);
        POTLUCK_TRY(ops.swiglu(stream, a.swiglu));
        return quantize_rows(a.swiglu.out, n / a.columns, a.columns, a.out);
    }

  private:
    template <typename Args>
    Status rows(kernels::Op<Args> op, Args& a) const {
        a.n_rows = n;
        return op(stream, a);
    }
    template <typename Args>
    Status values(kernels::Op<Args> op, Args& a) const {
        a.n = n;
        return op(stream, a);
    }
    Status quantize_rows(const float* x, std::size_t n_rows, std::size_t columns,
                         std::byte* out) const {
        return ops.quantize(stream, {.x = x, .n_rows = n_rows, .columns = columns, .out = out});
    }
};

}  // namespace

std::vector<SizedStep> bind_steps(const BindContext& context, const std::vector<Node>& nodes) {
    Binder binder(context);
    for (const auto& node : nodes)
        binder.bind(node);
    return binder.take();
}

std::size_t steps_to_store(std::span<const SizedStep> steps, std::size_t layers) {
    for (std::size_t i = 0; i < steps.size() && layers > 0; ++i) {
        if (std::holds_alternative<kernels::KvStoreArgs>(steps[i].step) && --layers == 0)
            return i + 1;
    }
    return 0;
}

Status run_step(kernels::Stream& stream, const kernels::OpTable& ops, const SizedStep& step,
                std::size_t n_rows) {
    return std::visit(Caller{stream, ops, n_rows * step.per_row}, step.step);
}

}  // namespace potluck::engine
