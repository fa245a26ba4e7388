#include "weights/model_holder.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <map>
#include <optional>

#include "base/file_descriptor.h"
#include "base/files.h"
#include "base/log.h"
#include "weights/manifest.h"
#include "weights/records.h"

namespace potluck::weights {
namespace {

constexpr std::uint32_t kIndexMagic = 0x314B4C50;  // "PLK1"

/// An open file of the model, as it was when it was opened.
struct ModelFile {
    FileDescriptor file;
    FileIdentity identity;
};

Result<std::vector<ModelFile>> open_files(const model::gguf::Gguf& model) {
    std::vector<ModelFile> files;
    for (std::uint32_t i = 0; i < model.shard_count(); ++i) {
        const auto& path = model.shard_name(i);
        FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        if (!file.is_open()) return file_problem("open", path);
        const auto identity = identity_of(file.get());
        if (!identity) return file_problem("stat", path);
        if (identity->bytes != model.head(i).file_bytes)
            return error(ErrorCode::kCorrupt, path + " was changed since it was opened");
        files.push_back({std::move(file), *identity});
    }
    return files;
}

class ModelHolder final : public Holder {
  public:
    ModelHolder(std::shared_ptr<const model::gguf::Gguf> file, std::filesystem::path directory)
        : model_(std::move(file)),
          fingerprint_(fingerprint(*model_)),
          directory_(std::move(directory)) {}

    Result<ObjectRef> manifest(const Digest& wanted, const HashProgress& progress) override {
        if (wanted != fingerprint_)
            return error(ErrorCode::kNotFound, "this is not the model that is served here");
        if (places_.empty()) POTLUCK_TRY(index(progress));
        return ObjectRef{manifest_root_, manifest_.size()};
    }

    Result<std::vector<Digest>> leaves(const Digest& root) override {
        if (root == manifest_root_) return manifest_leaves_;
        POTLUCK_ASSIGN(const auto* place, find(root));
        return place->leaves;
    }

    Result<std::size_t> read(const Digest& root, std::uint64_t chunk,
                             std::span<std::byte> to) override {
        if (root == manifest_root_) {
            if (chunk >= manifest_leaves_.size()) return no_chunk(chunk);
            const auto part = std::span(manifest_).subspan(chunk * kChunkBytes);
            const std::size_t n = chunk_size(manifest_.size(), chunk);
            std::copy_n(part.begin(), n, to.begin());
            return n;
        }
        POTLUCK_ASSIGN(const auto* place, find(root));
        if (chunk >= place->leaves.size()) return no_chunk(chunk);
        const auto& tensor = model_->tensors()[place->tensor];
        const std::size_t n = chunk_size(tensor.bytes, chunk);
        if (!read_at(files_[tensor.shard].file.get(), tensor.offset + chunk * kChunkBytes,
                     to.first(n)))
            return file_problem("read", model_->shard_name(tensor.shard));
        return n;
    }

  private:
    struct Place {
        std::size_t tensor = 0;
        std::vector<Digest> leaves;
    };

    static tl::unexpected<Error> no_chunk(std::uint64_t chunk) {
        return error(ErrorCode::kNotFound, fmt::format("the object has no chunk {}", chunk));
    }
    Result<const Place*> find(const Digest& root) const {
        const auto found = places_.find(root);
        if (found == places_.end()) return error(ErrorCode::kNotFound, "no such object here");
        return &found->second;
    }
    std::filesystem::path index_path() const {
        std::error_code ignored;
        const std::string path = std::filesystem::absolute(model_->name(), ignored).string();
        return directory_ /
               (to_hex(Sha256().add(std::as_bytes(std::span(path))).finish()) + ".index");
    }

    Status index(const HashProgress& progress);
    Result<std::vector<Digest>> hash_tensor(const model::gguf::TensorInfo& tensor,
                                            std::uint64_t& done, const HashProgress& progress);
    bool remembered(std::vector<std::vector<Digest>>& leaves) const;
    void remember(const std::vector<std::vector<Digest>>& leaves) const;

    std::shared_ptr<const model::gguf::Gguf> model_;
    Digest fingerprint_;
    std::filesystem::path directory_;
    std::vector<ModelFile> files_;
    std::map<Digest, Place> places_;
    std::vector<std::byte> manifest_;
    std::vector<Digest> manifest_leaves_;
    Digest manifest_root_{};
    std::vector<std::byte> buffer_;
};

Status ModelHolder::index(const HashProgress& progress) {
    const auto tensors = model_->tensors();
    for (const auto& tensor : tensors) {
        if (!is_object_size(tensor.bytes))
            return error(ErrorCode::kUnsupported,
                         fmt::format("tensor '{}' has {} bytes, which cannot be sent", tensor.name,
                                     tensor.bytes));
    }
    POTLUCK_ASSIGN(files_, open_files(*model_));
    std::vector<std::vector<Digest>> leaves;
    if (!remembered(leaves)) {
        log::info("hashing {}, {} MiB", model_->name(), model_->file_bytes() >> 20);
        leaves.clear();
        std::uint64_t done = 0;
        buffer_.resize(kChunkBytes);
        for (const auto& tensor : tensors) {
            POTLUCK_ASSIGN(auto of_tensor, hash_tensor(tensor, done, progress));
            leaves.push_back(std::move(of_tensor));
        }
        buffer_ = {};
        for (std::uint32_t i = 0; i < files_.size(); ++i) {
            if (identity_of(files_[i].file.get()) != files_[i].identity)
                return error(ErrorCode::kCorrupt,
                             model_->shard_name(i) + " was changed while it was hashed");
        }
        log::info("hashed {}", model_->name());
        if (!directory_.empty()) remember(leaves);
    } else {
        log::info("the hashes of {} are remembered", model_->name());
    }
    Manifest manifest;
    for (std::uint32_t i = 0; i < model_->shard_count(); ++i)
        manifest.heads.push_back(model_->head(i));
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const Digest root = root_of(leaves[i]);
        manifest.roots.push_back(root);
        places_.emplace(root, Place{i, std::move(leaves[i])});
    }
    manifest_ = encode_manifest(manifest);
    if (manifest_.size() > kMaxManifestBytes)
        return error(ErrorCode::kUnsupported,
                     fmt::format("{}: its metadata is too large to be sent", model_->name()));
    for (std::uint64_t i = 0; i < chunk_count(manifest_.size()); ++i)
        manifest_leaves_.push_back(leaf_hash(
            std::span(manifest_).subspan(i * kChunkBytes, chunk_size(manifest_.size(), i))));
    manifest_root_ = root_of(manifest_leaves_);
    return {};
}

Result<std::vector<Digest>> ModelHolder::hash_tensor(const model::gguf::TensorInfo& tensor,
                                                     std::uint64_t& done,
                                                     const HashProgress& progress) {
    std::vector<Digest> leaves;
    for (std::uint64_t i = 0; i < chunk_count(tensor.bytes); ++i) {
        const auto chunk = std::span(buffer_).first(chunk_size(tensor.bytes, i));
        if (!read_at(files_[tensor.shard].file.get(), tensor.offset + i * kChunkBytes, chunk))
            return file_problem("read", model_->shard_name(tensor.shard));
        leaves.push_back(leaf_hash(chunk));
        done += chunk.size();
        if (progress && !progress(done, model_->file_bytes()))
            return error(ErrorCode::kCancelled, "hashing was stopped");
    }
    return leaves;
}

bool ModelHolder::remembered(std::vector<std::vector<Digest>>& leaves) const {
    if (directory_.empty()) return false;
    auto reader = RecordReader::open(index_path(), kIndexMagic);
    if (!reader || reader->number() != files_.size()) return false;
    for (const auto& file : files_)
        if (reader->identity() != file.identity) return false;
    for (const auto& tensor : model_->tensors()) {
        std::vector<Digest> of_tensor;
        if (!reader->digests(chunk_count(tensor.bytes), of_tensor)) return false;
        leaves.push_back(std::move(of_tensor));
    }
    return reader->at_end();
}

void ModelHolder::remember(const std::vector<std::vector<Digest>>& leaves) const {
    std::error_code problem;
    std::filesystem::create_directories(directory_, problem);
    RecordWriter record(kIndexMagic);
    record.number(files_.size());
    for (const auto& file : files_)
        record.identity(file.identity);
    for (const auto& of_tensor : leaves)
        record.digests(of_tensor);
    if (auto written = record.write(index_path()); !written)
        log::warning("the hashes of {} are not remembered: {}", model_->name(),
                     written.error().message);
}

}  // namespace

std::unique_ptr<Holder> make_model_holder(std::shared_ptr<const model::gguf::Gguf> file,
                                          std::filesystem::path cache_directory) {
    return std::make_unique<ModelHolder>(std::move(file), std::move(cache_directory));
}

}  // namespace potluck::weights
