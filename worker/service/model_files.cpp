#include "worker/service/model_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>
#include <vector>

#include "base/log.h"
#include "model/graph/architecture.h"
#include "model/graph/rotary.h"
#include "weights/manifest.h"
#include "weights/store.h"

namespace potluck::worker {
namespace {

using model::gguf::Gguf;
using weights::ObjectRef;

/// Of a fetched model's fingerprint, in its name.
constexpr std::size_t kNameDigits = 16;

/// Tensors of one model, fetched into the cache and mapped: what the assembled Gguf keeps.
struct FetchedTensors {
    std::vector<weights::StoredObject> locked;
    std::vector<model::gguf::MappedFile> mapped;
    std::map<weights::Digest, std::span<const std::byte>> bytes;
};

/// One fetch of a part of a model.
class PartFetch {
  public:
    PartFetch(const ModelPart& part, weights::Store store,
              std::unique_ptr<weights::Fetcher> fetcher, std::function<bool()> cancelled)
        : part_(part),
          store_(std::move(store)),
          fetcher_(std::move(fetcher)),
          cancelled_(std::move(cancelled)) {}

    Result<std::shared_ptr<const Gguf>> run(const weights::Digest& fingerprint) {
        // Another model at the same place has another name.
        name_ = part_.source.path() + "@" + weights::to_hex(fingerprint).substr(0, kNameDigits);
        const auto start = std::chrono::steady_clock::now();
        POTLUCK_ASSIGN(const ObjectRef ref, fetcher_->find_manifest(fingerprint));
        POTLUCK_TRY(get({ref}));
        POTLUCK_ASSIGN(manifest_, weights::decode_manifest(have_->bytes.at(ref.root)));
        POTLUCK_ASSIGN(auto file, assemble());
        if (file->tensors().size() != manifest_.roots.size())
            return error(ErrorCode::kCorrupt,
                         fmt::format("manifest: {} addresses for {} tensors",
                                     manifest_.roots.size(), file->tensors().size()));
        if (file->find_tensor(model::kRotaryFactors) != nullptr) {
            POTLUCK_TRY(get(refs(*file, {std::string(model::kRotaryFactors)})));
            POTLUCK_ASSIGN(file, assemble());
        }
        POTLUCK_ASSIGN(const auto description,
                       model::describe(*file, model::arch::architectures(), part_.rotary));
        POTLUCK_ASSIGN(const auto graph, model::build_shard(*file, description, part_.shard));
        std::vector<std::string> names;
        for (const auto& weight : graph.weights)
            names.push_back(weight.name);
        POTLUCK_TRY(get(refs(*file, names)));
        const auto counts = fetcher_->counts();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        std::string more;
        if (counts.repeated_bytes > 0)
            more += fmt::format(", {} bytes came twice", counts.repeated_bytes);
        if (counts.dropped > 0)
            more += fmt::format(", {} machines sent something wrong", counts.dropped);
        log::info(
            "weights of layers {}..{}: {} bytes, of which {} fetched from {} machines in {:.2f} "
            "s{}",
            part_.shard.begin, part_.shard.end, total_bytes_, counts.fetched_bytes, counts.holders,
            took.count(), more);
        return assemble();
    }

  private:
    /// Each address once, and none that is here already.
    std::vector<ObjectRef> refs(const Gguf& file, const std::vector<std::string>& names) const {
        std::map<weights::Digest, std::uint64_t> wanted;
        for (const auto& name : names) {
            const auto* tensor = file.find_tensor(name);
            const auto index = static_cast<std::size_t>(tensor - file.tensors().data());
            if (!have_->bytes.contains(manifest_.roots[index]))
                wanted.emplace(manifest_.roots[index], tensor->bytes);
        }
        std::vector<ObjectRef> all;
        for (const auto& [root, bytes] : wanted)
            all.push_back({root, bytes});
        return all;
    }

    Status get(const std::vector<ObjectRef>& wanted) {
        POTLUCK_ASSIGN(auto objects, store_.acquire(wanted, cancelled_));
        POTLUCK_TRY(fetcher_->complete(objects));
        for (auto& object : objects) {
            POTLUCK_ASSIGN(auto mapped, object.map());
            total_bytes_ += mapped.bytes().size();
            have_->bytes.emplace(object.ref().root, mapped.bytes());
            have_->mapped.push_back(std::move(mapped));
            have_->locked.push_back(std::move(object));
        }
        return {};
    }

    /// With the data that is here.
    Result<std::shared_ptr<const Gguf>> assemble() const {
        std::size_t next = 0;  // data is asked for in the order of the addresses
        const auto data = [&](const model::gguf::TensorInfo&) -> std::span<const std::byte> {
            const std::size_t index = next++;
            if (index >= manifest_.roots.size()) return {};
            const auto found = have_->bytes.find(manifest_.roots[index]);
            return found == have_->bytes.end() ? std::span<const std::byte>{} : found->second;
        };
        return Gguf::assemble(manifest_.heads, name_, data, have_);
    }

    const ModelPart& part_;
    weights::Store store_;
    std::unique_ptr<weights::Fetcher> fetcher_;
    std::function<bool()> cancelled_;
    std::shared_ptr<FetchedTensors> have_ = std::make_shared<FetchedTensors>();
    weights::Manifest manifest_;
    std::string name_;
    std::uint64_t total_bytes_ = 0;
};

/// The coordinator first, then the other workers.
std::vector<links::Destination> holders_of(const proto::ModelSource& source,
                                           const std::string& own_name,
                                           const std::string& coordinator) {
    std::vector<links::Destination> holders;
    for (const auto& holder : source.holders()) {
        if (holder.node_name().empty()) {
            holders.insert(holders.begin(), {links::reachable(holder.address(), coordinator),
                                             {security::Role::kCoordinator, {}}});
        } else if (holder.node_name() != own_name) {
            holders.push_back({holder.address(), {security::Role::kWorker, holder.node_name()}});
        }
    }
    return holders;
}

}  // namespace

ModelFiles::ModelFiles(boost::asio::io_context& loop, ModelFilesOptions options,
                       std::string node_name, std::string coordinator)
    : options_(std::move(options)),
      node_name_(std::move(node_name)),
      coordinator_(std::move(coordinator)) {
    if (!options_.cache.empty())
        server_ = std::make_unique<weights::Server>(
            loop, weights::make_store_holder(options_.cache),
            weights::ServerOptions{.bytes_per_second = options_.serve_rate});
}

bool ModelFiles::serve(const std::shared_ptr<links::ControlLink>& link) {
    if (!server_ || link->identity().role != security::Role::kWorker) return false;
    server_->welcome(link);
    return true;
}

Result<std::shared_ptr<const Gguf>> ModelFiles::open(
    const ModelPart& part, const std::function<bool()>& cancelled,
    const std::function<void(const weights::Transfer&)>& on_progress) const {
    auto local = options_.local_files
                     ? open_local(part.source)
                     : Result<std::shared_ptr<const Gguf>>(
                           error(ErrorCode::kNotFound, "files of this machine are not to be used"));
    if (local) return local;
    if (options_.cache.empty() || !options_.transport || part.source.holders().empty())
        return with_context(std::move(local.error()), "weights cannot be fetched, and");
    log::info("{}; fetching from the cluster", local.error().message);
    auto fetched = fetch(part, cancelled, on_progress);
    if (!fetched)
        return error(fetched.error().code,
                     fmt::format("{}; {}", local.error().message, fetched.error().message));
    return fetched;
}

Result<std::shared_ptr<const Gguf>> ModelFiles::open_local(const proto::ModelSource& source) const {
    POTLUCK_ASSIGN(auto file, Gguf::open(source.path()));
    if (source.file_bytes() != 0 && file->file_bytes() != source.file_bytes())
        return error(ErrorCode::kCorrupt,
                     fmt::format("{} has {} bytes here, the coordinator's has {}", source.path(),
                                 file->file_bytes(), source.file_bytes()));
    if (!source.fingerprint().empty() &&
        weights::to_digest(source.fingerprint()) != weights::fingerprint(*file))
        return error(ErrorCode::kCorrupt,
                     source.path() + " is another file here than at the coordinator");
    return file;
}

Result<std::shared_ptr<const Gguf>> ModelFiles::fetch(
    const ModelPart& part, const std::function<bool()>& cancelled,
    const std::function<void(const weights::Transfer&)>& on_progress) const {
    const auto fingerprint = weights::to_digest(part.source.fingerprint());
    if (!fingerprint) return error(ErrorCode::kCorrupt, "plan: the model has no fingerprint");
    POTLUCK_ASSIGN(auto store, weights::Store::open({.directory = options_.cache,
                                                     .max_bytes = options_.cache_bytes}));
    POTLUCK_ASSIGN(auto fetcher, weights::Fetcher::create(
                                     {.node_name = node_name_,
                                      .holders = holders_of(part.source, node_name_, coordinator_),
                                      .cancelled = cancelled,
                                      .on_progress = on_progress},
                                     options_.transport));
    return PartFetch(part, std::move(store), std::move(fetcher), cancelled).run(*fingerprint);
}

}  // namespace potluck::worker
