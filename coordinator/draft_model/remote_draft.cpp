#include "coordinator/draft_model/remote_draft.h"

#include <utility>

namespace potluck::coordinator {

bool RemoteDraft::post(const DraftRequest& request) {
    sequences_.take(request);
    if (on_work_) on_work_();
    return true;
}

void RemoteDraft::start(const DraftCache& cache, std::function<void()> on_work) {
    sequences_.start(cache);
    absence_.clear();
    on_work_ = std::move(on_work);
    on_work_();
}

void RemoteDraft::stop(std::string why) {
    sequences_.stop();
    absence_ = std::move(why);
    on_work_ = {};
}

Status RemoteDraft::on_result(const StepResult& result, nanoseconds now) {
    POTLUCK_TRY(sequences_.on_result(result, now));
    sequences_.send([this](const DraftReply& reply) { return replies_.try_push(reply); });
    return {};
}

}  // namespace potluck::coordinator
