#include "weights/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <numeric>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/log.h"
#include "weights/records.h"
#include "weights/stored_tree.h"

namespace potluck::weights {
namespace fs = std::filesystem;
namespace {

constexpr std::chrono::milliseconds kLockPoll{20};
/// Times that an object may be evicted between our taking room for it and our locking it.
constexpr int kMaxReopens = 8;

/// False if somebody else's lock is in the way.
bool try_lock(const FileDescriptor& file, int kind) {
    while (::flock(file.get(), kind | LOCK_NB) != 0)
        if (errno != EINTR) return false;
    return true;
}

bool is_unlinked(const FileDescriptor& file) {
    struct stat status {};
    return ::fstat(file.get(), &status) != 0 || status.st_nlink == 0;
}

/// The recorded tree, if the .data file is as it was when all of it was right.
std::optional<StoredTree> verified_tree(const fs::path& stem, const ObjectRef& ref, int fd) {
    auto tree = read_tree(tree_path(stem), ref.root);
    if (!tree || tree->bytes != ref.bytes || !tree->verified || tree->verified != identity_of(fd))
        return std::nullopt;
    return std::move(*tree);
}

std::uint64_t gib_hundredths(std::uint64_t bytes) {
    return bytes / ((1U << 30) / 100);
}
std::string in_gib(std::uint64_t bytes) {
    const auto n = gib_hundredths(bytes);
    return fmt::format("{}.{:02} GiB", n / 100, n % 100);
}

}  // namespace

// ------------------------------------------------------------------------------- a stored object

fs::path StoredObject::data_path() const {
    return weights::data_path(stem_);
}

Status StoredObject::set_leaves(std::vector<Digest> leaves) {
    if (leaves.size() != chunks() || root_of(leaves) != ref_.root)
        return error(ErrorCode::kCorrupt, fmt::format("{} hashes are not those of object {}",
                                                      leaves.size(), to_hex(ref_.root)));
    leaves_ = std::move(leaves);
    POTLUCK_TRY(write_tree(tree_path(stem_), {.bytes = ref_.bytes, .leaves = leaves_}));
    return check_present();
}

/// What an earlier fetch has left.
Status StoredObject::check_present() {
    std::vector<std::byte> buffer(kChunkBytes);
    for (std::uint64_t i = 0; i < chunks(); ++i) {
        const auto offset = static_cast<off_t>(i * kChunkBytes);
        const auto chunk = std::span(buffer).first(chunk_size(ref_.bytes, i));
        // A hole cannot be a chunk of ours, unless it is one of zeros, which is fetched again.
        const off_t data = ::lseek(file_.get(), offset, SEEK_DATA);
        if (present_[i] || (data < 0 && errno == ENXIO) ||
            data >= offset + static_cast<off_t>(chunk.size()))
            continue;
        if (!read_at(file_.get(), i * kChunkBytes, chunk)) return file_problem("read", data_path());
        if (leaf_hash(chunk) != leaves_[i]) continue;
        present_[i] = true;
        missing_bytes_ -= chunk.size();
    }
    return missing_bytes_ == 0 ? finish() : Status{};
}

Status StoredObject::write(std::uint64_t chunk, std::span<const std::byte> bytes) {
    if (!has_leaves() || chunk >= chunks() || bytes.size() != chunk_size(ref_.bytes, chunk) ||
        leaf_hash(bytes) != leaves_[chunk])
        return error(ErrorCode::kCorrupt, fmt::format("{} bytes are not chunk {} of object {}",
                                                      bytes.size(), chunk, to_hex(ref_.root)));
    if (has(chunk)) return {};
    if (!write_at(file_.get(), chunk * kChunkBytes, bytes))
        return file_problem("write", data_path());
    present_[chunk] = true;
    missing_bytes_ -= bytes.size();
    return missing_bytes_ == 0 ? finish() : Status{};
}

Status StoredObject::finish() {
    if (::fdatasync(file_.get()) != 0) return file_problem("write", data_path());
    const auto identity = identity_of(file_.get());
    if (!identity) return file_problem("stat", data_path());
    POTLUCK_TRY(write_tree(tree_path(stem_),
                           {.bytes = ref_.bytes, .leaves = leaves_, .verified = identity}));
    complete_ = true;
    if (!try_lock(file_, LOCK_SH) || is_unlinked(file_))
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("object {} was evicted at once", to_hex(ref_.root)));
    return {};
}

Result<model::gguf::MappedFile> StoredObject::map() const {
    POTLUCK_CHECK(complete_);
    return model::gguf::MappedFile::open(data_path());
}

// ------------------------------------------------------------------------------------- the store

Result<Store> Store::open(const StoreOptions& options) {
    std::error_code problem;
    fs::create_directories(options.directory, problem);
    if (problem)
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("{}: cannot be made: {}", options.directory.string(), problem.message()));
    std::uint64_t most = options.max_bytes;
    if (most == 0) {
        const auto space = fs::space(options.directory, problem);
        if (problem)
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("{}: {}", options.directory.string(), problem.message()));
        std::uint64_t used = 0;
        for (fs::directory_iterator i(options.directory, problem), end; !problem && i != end;
             i.increment(problem)) {
            std::error_code gone;
            const auto bytes = i->path().extension() == ".data" ? i->file_size(gone) : 0;
            if (!gone) used += bytes;
        }
        most = (space.available + used) / 2;
    }
    return Store(options.directory, most);
}

fs::path Store::stem(const Digest& root) const {
    return directory_ / to_hex(root);
}

Result<std::vector<StoredObject>> Store::acquire(std::span<const ObjectRef> objects,
                                                 const std::function<bool()>& cancelled) {
    POTLUCK_TRY(reserve(objects));
    // Locks are taken in the order of addresses, so that two processes cannot wait for one another.
    std::vector<std::size_t> order(objects.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::sort(order, {}, [&](std::size_t i) { return objects[i].root; });
    std::vector<std::optional<StoredObject>> opened(objects.size());
    const auto until = std::chrono::steady_clock::now() + kMaxLockWait;
    int reopens = 0;
    bool said = false;
    for (const std::size_t i : order) {
        while (true) {
            auto tried = try_open(objects[i]);
            if (!tried) return tl::make_unexpected(std::move(tried.error()));
            if (*tried) {
                opened[i].emplace(std::move(**tried));
                break;
            }
            if (cancelled && cancelled())
                return error(ErrorCode::kCancelled, "not wanted any more");
            if (std::chrono::steady_clock::now() > until)
                return error(ErrorCode::kTimedOut,
                             fmt::format("{}: another process has locked it",
                                         data_path(stem(objects[i].root)).string()));
            std::error_code ignored;
            if (!fs::exists(data_path(stem(objects[i].root)), ignored)) {
                if (++reopens > kMaxReopens)
                    return error(ErrorCode::kResourceExhausted,
                                 directory_.string() + ": another process evicts what is needed");
                POTLUCK_TRY(reserve(objects));
                continue;
            }
            if (!std::exchange(said, true))
                log::info("waiting for another process that fetches into {}", directory_.string());
            std::this_thread::sleep_for(kLockPoll);
        }
    }
    std::vector<StoredObject> all;
    for (auto& object : opened)
        all.push_back(std::move(*object));
    return all;
}

Result<std::optional<StoredObject>> Store::try_open(const ObjectRef& ref) const {
    const fs::path path = data_path(stem(ref.root));
    FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (!file.is_open()) {
        if (errno == ENOENT) return std::nullopt;
        return file_problem("open", path);
    }
    if (!try_lock(file, LOCK_SH) || is_unlinked(file)) return std::nullopt;
    auto tree = verified_tree(stem(ref.root), ref, file.get());
    if (!tree) {
        // Somebody who fetches it must be alone, and may just have finished.
        if (!try_lock(file, LOCK_EX) || is_unlinked(file)) return std::nullopt;
        tree = verified_tree(stem(ref.root), ref, file.get());
        if (tree && (!try_lock(file, LOCK_SH) || is_unlinked(file))) return std::nullopt;
    }
    // When it was last wanted, for those who look for something to evict.
    ::utimensat(AT_FDCWD, tree_path(stem(ref.root)).c_str(), nullptr, 0);
    StoredObject object(stem(ref.root), ref, std::move(file));
    if (tree) {
        object.leaves_ = std::move(tree->leaves);
        object.complete_ = true;
        return std::optional<StoredObject>(std::move(object));
    }
    if (::ftruncate(object.file_.get(), static_cast<off_t>(ref.bytes)) != 0)
        return file_problem("resize", path);
    object.present_.resize(object.chunks());
    object.missing_bytes_ = ref.bytes;
    auto known = read_tree(tree_path(stem(ref.root)), ref.root);
    if (known && known->bytes == ref.bytes) {
        object.leaves_ = std::move(known->leaves);
        POTLUCK_TRY(object.check_present());
    } else if (object.chunks() == 1) {
        POTLUCK_TRY(object.set_leaves({ref.root}));
    }
    return std::optional<StoredObject>(std::move(object));
}

Status Store::reserve(std::span<const ObjectRef> objects) const {
    for (const auto& ref : objects)
        if (!is_object_size(ref.bytes))
            return error(ErrorCode::kInvalidArgument,
                         fmt::format("an object of {} bytes cannot be stored", ref.bytes));
    POTLUCK_ASSIGN(const auto lock, lock_file(directory_ / "lock"));
    POTLUCK_TRY(make_room(objects));
    for (const auto& ref : objects) {
        const fs::path path = data_path(stem(ref.root));
        const FileDescriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        if (!file.is_open()) return file_problem("create", path);
        struct stat status {};
        // Another size than it should have is mended by whoever locks it.
        if (::fstat(file.get(), &status) == 0 && status.st_size == 0 &&
            ::ftruncate(file.get(), static_cast<off_t>(ref.bytes)) != 0)
            return file_problem("resize", path);
    }
    return {};
}

/// Under the directory's lock.
Status Store::make_room(std::span<const ObjectRef> objects) const {
    std::uint64_t need = 0;
    std::vector<std::string> wanted;
    for (const auto& ref : objects) {
        need += ref.bytes;
        wanted.push_back(to_hex(ref.root));
    }
    std::ranges::sort(wanted);
    if (need > max_bytes_)
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("{}: {} are needed at once, and the cache may hold {}",
                                 directory_.string(), in_gib(need), in_gib(max_bytes_)));
    struct Other {
        fs::path stem;
        std::uint64_t bytes = 0;
        fs::file_time_type used;
    };
    std::vector<Other> others;
    std::uint64_t used = need;
    std::error_code problem;
    for (fs::directory_iterator i(directory_, problem), end; !problem && i != end;
         i.increment(problem)) {
        if (i->path().extension() != ".data" ||
            std::ranges::binary_search(wanted, i->path().stem().string()))
            continue;
        Other other{.stem = directory_ / i->path().stem()};
        std::error_code gone;
        other.bytes = i->file_size(gone);
        if (gone) continue;
        other.used = fs::last_write_time(tree_path(other.stem), gone);
        if (gone) other.used = fs::file_time_type::min();
        used += other.bytes;
        others.push_back(std::move(other));
    }
    if (problem)
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{}: {}", directory_.string(), problem.message()));
    std::ranges::sort(others, {}, &Other::used);
    for (const auto& other : others) {
        if (used <= max_bytes_) break;
        const FileDescriptor file(::open(data_path(other.stem).c_str(), O_RDWR | O_CLOEXEC));
        if (!file.is_open() || !try_lock(file, LOCK_EX)) continue;
        ::unlink(tree_path(other.stem).c_str());
        if (::unlink(data_path(other.stem).c_str()) == 0) used -= other.bytes;
    }
    if (used > max_bytes_)
        return error(ErrorCode::kResourceExhausted,
                     fmt::format("{}: {} are needed, and {} of the {} that the cache may hold are "
                                 "in use",
                                 directory_.string(), in_gib(need), in_gib(used - need),
                                 in_gib(max_bytes_)));
    return {};
}

// ------------------------------------------------------------------------------------ the holder

namespace {

class StoreHolder final : public Holder {
  public:
    explicit StoreHolder(fs::path directory) : directory_(std::move(directory)) {}

    Result<ObjectRef> manifest(const Digest&, const HashProgress&) override {
        return error(ErrorCode::kNotFound, "only the coordinator knows which model is served");
    }
    Result<std::vector<Digest>> leaves(const Digest& root) override {
        POTLUCK_TRY(open(root));
        return tree_.leaves;
    }
    Result<std::size_t> read(const Digest& root, std::uint64_t chunk,
                             std::span<std::byte> to) override {
        POTLUCK_TRY(open(root));
        if (chunk >= tree_.leaves.size())
            return error(ErrorCode::kNotFound, fmt::format("the object has no chunk {}", chunk));
        const std::size_t n = chunk_size(tree_.bytes, chunk);
        if (!read_at(file_->get(), chunk * kChunkBytes, to.first(n)))
            return file_problem("read", data_path(directory_ / to_hex(root)));
        return n;
    }

  private:
    /// Keeps the last object open; one that is evicted meanwhile can still be read.
    Status open(const Digest& root) {
        if (file_ && root_ == root) return {};
        file_.reset();
        const fs::path stem = directory_ / to_hex(root);
        const fs::path path = data_path(stem);
        file_.emplace(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        auto tree = file_->is_open() ? read_tree(tree_path(stem), root)
                                     : Result<StoredTree>(file_problem("open", path));
        if (!tree || !tree->verified || tree->verified != identity_of(file_->get())) {
            file_.reset();
            return error(ErrorCode::kNotFound, "no such object here");
        }
        tree_ = std::move(*tree);
        root_ = root;
        return {};
    }

    fs::path directory_;
    Digest root_{};
    StoredTree tree_;
    std::optional<FileDescriptor> file_;
};

}  // namespace

std::unique_ptr<Holder> make_store_holder(fs::path directory) {
    return std::make_unique<StoreHolder>(std::move(directory));
}

}  // namespace potluck::weights
