#include "coordinator/service/plan_message.h"

#include <utility>

namespace potluck::coordinator {

proto::Plan to_proto(const Plan& plan, const ModelFacts& facts, const std::string& return_address,
                     const std::function<std::string(NodeId)>& name_of) {
    proto::Plan message;
    message.set_epoch(plan.epoch.value);
    auto& model = *message.mutable_model();
    model.set_name(proto::to_utf8(facts.served.id));
    model.set_path(facts.path);
    model.set_file_bytes(facts.file_bytes);
    model.set_width(facts.config.width);
    model.set_fingerprint(std::string(weights::as_text(facts.fingerprint)));
    auto& pipeline = *message.add_pipelines();
    for (const auto& stage : plan.stages) {
        auto& s = *pipeline.add_stages();
        s.set_node_id(stage.node.value);
        s.set_device(stage.device);
        s.set_layer_begin(stage.part.begin);
        s.set_layer_end(stage.part.end);
        s.set_embedding(stage.part.embedding);
        s.set_head(stage.part.head);
        s.set_address(stage.address);
        s.set_node_name(name_of(stage.node));
    }
    message.set_context(plan.context);
    message.set_slots(plan.slots);
    message.set_kv_pages(plan.kv_pages);
    message.set_page_tokens(plan.page_tokens);
    message.set_kv_k_type(std::string(to_string(plan.kv.k)));
    message.set_kv_v_type(std::string(to_string(plan.kv.v)));
    message.set_rope_scaling(std::string(to_string(facts.rotary.scaling)));
    message.set_rope_factor(facts.rotary.factor);
    message.set_rope_base(facts.rotary.base);
    message.set_max_batch_rows(plan.max_batch_rows);
    message.set_max_in_flight(plan.max_in_flight);
    message.set_return_address(return_address);
    return message;
}

proto::Prepare to_prepare(const Plan& plan, proto::Plan message,
                          const std::vector<engine::KeptSequence>& sequences) {
    proto::Prepare prepare;
    *prepare.mutable_plan() = std::move(message);
    if (plan.kept_epoch.value == 0) return prepare;
    auto& keep = *prepare.mutable_keep();
    keep.set_epoch(plan.kept_epoch.value);
    keep.set_from_layer(plan.kept_from);
    for (const auto& sequence : sequences) {
        auto& kept = *keep.add_sequences();
        kept.set_seq(sequence.seq.value);
        kept.set_positions(sequence.positions);
    }
    return prepare;
}

StageProgress read_progress(const proto::Progress& progress) {
    using Phase = StageProgress::Phase;
    const auto phase = progress.phase() == proto::Progress::HASHING    ? Phase::kHashing
                       : progress.phase() == proto::Progress::FETCHING ? Phase::kFetching
                                                                       : Phase::kLoading;
    return {progress.done_bytes(), progress.total_bytes(), phase, progress.bytes_per_second()};
}

void name_holders(const std::map<NodeId, NodeOffer>& nodes, const std::string& own_address,
                  proto::ModelSource& model) {
    model.add_holders()->set_address(own_address);
    for (const auto& [id, node] : nodes) {
        auto& holder = *model.add_holders();
        holder.set_address(node.address);
        holder.set_node_name(node.name);
    }
}

}  // namespace potluck::coordinator
