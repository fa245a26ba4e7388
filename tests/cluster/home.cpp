#include "tests/cluster/home.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <boost/json.hpp>

#include "coordinator/speculate/speculator.h"
#include "coordinator/store/store.h"
#include "kernels/cpu/cpu_device.h"
#include "tests/support/run_until.h"
#include "tests/support/tiny_model.h"

namespace potluck::test {
namespace {

using security::Role;
using std::chrono::system_clock;

class AnswerSink final : public coordinator::GenerationSink {
  public:
    explicit AnswerSink(std::shared_ptr<Answer> answer) : answer_(std::move(answer)) {}
    void on_delta(const coordinator::Delta& delta) override { answer_->text += delta.text; }
    void on_finish(std::uint32_t, coordinator::FinishReason) override {}
    void on_done(const coordinator::Usage&) override { answer_->ended = true; }
    void on_error(const Error& error) override {
        answer_->problem = error.message;
        answer_->ended = true;
    }

  private:
    std::shared_ptr<Answer> answer_;
};

}  // namespace

Status MemoryRegistry::change(const std::function<Status(security::Enrolments&)>& edit) {
    security::Enrolments edited = kept_->enrolments;
    POTLUCK_TRY(edit(edited));
    if (edited != kept_->enrolments) ++kept_->changes;
    kept_->enrolments = std::move(edited);
    return {};
}

Home::Home(const HomeOptions& options)
    : authority_(must(security::make_authority("home", system_clock::now()))) {
    standing_ = std::make_shared<security::Standing>(
        must(security::issue(authority_, {Role::kCoordinator, {}}, system_clock::now())));
    desk_ = std::make_unique<coordinator::EnrolmentDesk>(
        loop_, authority_, std::make_unique<MemoryRegistry>(registry_));
    transport_ = must(transport::make_tls_transport(
        loop_, {.standing = standing_, .on_anonymous = [this](auto connection) {
                    desk_->accept(std::move(connection));
                }}));
    certificates_ = std::make_unique<coordinator::NodeCertificates>(
        loop_, coordinator::NodeCertificatesOptions{
                   .authority = authority_,
                   .registry = std::make_unique<MemoryRegistry>(registry_),
                   .standing = standing_,
                   .cut = [this] { transport_->cut_revoked(); }});
    coordinator::CoordinatorOptions settings;
    settings.model_path = std::string(POTLUCK_SOURCE_DIR) + "/models/tiny-coder-q8_0.gguf";
    settings.deployment.workers = options.workers;
    settings.deployment.plan.context = 1024;
    settings.deployment.plan.slots = 2;
    settings.speculation = coordinator::make_speculator({});
    settings.knowledge.use_all = true;
    settings.knowledge.refused = [this] { return refused(); };
    settings.wire = options.wire;
    settings.certificates = certificates_.get();
    coordinator::CoordinatorEvents events;
    events.on_plan = [this](const coordinator::Plan& plan, const std::string&) {
        stages_.clear();
        for (const auto& stage : plan.stages)
            stages_.push_back(name_of(stage.node));
    };
    coordinator_ = must(
        coordinator::CoordinatorService::start(loop_, *transport_, std::move(settings), events));
}

Home::~Home() {
    workers_.clear();
    coordinator_.reset();
    loop_.restart();
    loop_.poll();  // connections let go of one another
}

std::string Home::name_of(NodeId node) const {
    const auto cluster = boost::json::parse(coordinator_->cluster());
    for (const auto& n : cluster.at("nodes").as_array())
        if (n.at("id").to_number<std::uint32_t>() == node.value)
            return std::string(n.at("name").as_string());
    return "?";
}

std::string Home::address_of(const std::string& worker) const {
    const auto cluster = boost::json::parse(coordinator_->cluster());
    for (const auto& n : cluster.at("nodes").as_array())
        if (n.at("name").as_string() == worker) return std::string(n.at("address").as_string());
    return "";
}

void Home::add_worker(const std::string& name, const WorkerOptions& options) {
    auto& nodes = registry_->enrolments.nodes;
    if (std::find(nodes.begin(), nodes.end(), name) == nodes.end()) nodes.push_back(name);
    auto worker = std::make_unique<Worker>();
    worker->standing = std::make_shared<security::Standing>(must(
        security::issue(authority_, {Role::kWorker, name}, system_clock::now(), options.validity)));
    worker->transport = must(transport::make_tls_transport(loop_, {.standing = worker->standing}));
    std::vector<worker::WorkerDevice> devices(1);
    devices[0].device = must(kernels::cpu::make_cpu_device({.threads = 1}));
    if (!options.pace.empty()) devices[0].pace = must(engine::Pace::parse(options.pace));
    worker::WorkerOptions settings{.name = name,
                                   .coordinator = coordinator_->worker_address(),
                                   .listen = "127.0.0.1:0",
                                   .memory_bytes = std::uint64_t{256} << 20,
                                   .retry_interval = std::chrono::milliseconds(50)};
    settings.wire = options.wire;
    settings.certificates = {.standing = worker->standing,
                             .keep =
                                 [w = worker.get()](const security::Credentials&) {
                                     ++w->kept;
                                     return Status{};
                                 },
                             .cut = [w = worker.get()] { w->transport->cut_revoked(); }};
    worker->service = must(worker::WorkerService::start(
        loop_, *worker->transport, std::move(settings), std::move(devices), [] {}));
    workers_[name] = std::move(worker);
}

void Home::revoke(const std::string& name) {
    must(MemoryRegistry(registry_).change(
        [&](security::Enrolments& enrolments) { return enrolments.revoke_node(name); }));
}

bool Home::run_until(const std::function<bool()>& condition, std::chrono::seconds patience) {
    return test::run_until(loop_, condition, patience);
}

std::shared_ptr<Answer> Home::ask(const std::string& prompt, std::uint32_t tokens) {
    auto answer = std::make_shared<Answer>();
    coordinator::GenerationRequest request{
        .prompt = coordinator_->model()->tokenizer->encode(prompt, true, false),
        .max_tokens = tokens,
        .ignore_eos = true};
    const auto submitted =
        coordinator_->submit(std::move(request), std::make_shared<AnswerSink>(answer));
    if (!submitted) {
        answer->problem = submitted.error().message;
        answer->ended = true;
    }
    return answer;
}

std::string Home::complete(const std::string& prompt, std::uint32_t tokens) {
    const auto answer = ask(prompt, tokens);
    if (!run_until([&] { return answer->ended; })) return "error: no end";
    return answer->problem.empty() ? answer->text : "error: " + answer->problem;
}

}  // namespace potluck::test
