#include "security/state_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include <boost/json.hpp>

#include "base/file_descriptor.h"
#include "base/files.h"
#include "base/hex.h"

namespace potluck::security {
namespace {

namespace json = boost::json;
namespace fs = std::filesystem;

constexpr std::size_t kMaxFileBytes = 4U << 20;
constexpr const char* kClusterFile = "cluster.json";
constexpr const char* kEnrolmentsFile = "enrolments.json";
constexpr const char* kWorkerFile = "worker.json";
constexpr const char* kLockFile = "lock";

std::string in(const std::string& directory, const char* name) {
    return (fs::path(directory) / name).string();
}

Status make_directory(const std::string& directory) {
    std::error_code ec;
    fs::create_directories(fs::path(directory).parent_path(), ec);
    if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
        return file_problem("mkdir", directory);
    return {};
}

Result<std::string> read_private(const std::string& path) {
    const FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (file.get() < 0) return file_problem("open", path);
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return file_problem("stat", path);
    if ((status.st_mode & 077) != 0) {
        return error(
            ErrorCode::kInvalidArgument,
            fmt::format("{} holds secrets and others may read it: chmod 600 {}", path, path));
    }
    auto text = read_up_to(file, kMaxFileBytes);
    if (!text) return file_problem("read", path);
    if (text->size() > kMaxFileBytes)
        return error(ErrorCode::kCorrupt, path + " is too large to be ours");
    return std::move(*text);
}

json::object to_object(const Credentials& c) {
    return {{"ca", c.ca}, {"certificate", c.certificate}, {"key", c.key}};
}

/// A string member; empty if it is not there.
std::string text_of(const json::object& object, const char* name) {
    const auto* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
}

Result<json::object> parse_object(std::string_view text) {
    boost::system::error_code ec;
    json::value value = json::parse(json::string_view(text.data(), text.size()), ec);
    if (ec || !value.is_object()) return error(ErrorCode::kCorrupt, "not a JSON object");
    return std::move(value.get_object());
}

Result<Credentials> credentials_of(const json::object& object, const char* name) {
    const auto* value = object.if_contains(name);
    if (value == nullptr || !value->is_object())
        return error(ErrorCode::kCorrupt, fmt::format("there is no {}", name));
    const auto& o = value->get_object();
    return Credentials{text_of(o, "ca"), text_of(o, "certificate"), text_of(o, "key")};
}

std::string to_json(const ClusterState& state) {
    return json::serialize(json::object{
        {"id", state.id},
        {"address", state.address},
        {"authority",
         json::object{{"certificate", state.authority.certificate}, {"key", state.authority.key}}},
        {"coordinator", to_object(state.coordinator)}});
}

class FileRegistry final : public Registry {
  public:
    explicit FileRegistry(std::string directory) : directory_(std::move(directory)) {}

    Status change(const std::function<Status(Enrolments&)>& edit) override {
        POTLUCK_ASSIGN(const auto locked, lock_file(in(directory_, kLockFile)));
        POTLUCK_ASSIGN(Enrolments enrolments, read());
        const Enrolments before = enrolments;
        POTLUCK_TRY(edit(enrolments));
        if (enrolments == before) return {};
        return replace_file(in(directory_, kEnrolmentsFile), to_json(enrolments), true);
    }
    /// The file is replaced, never written into: no lock is needed.
    Result<Enrolments> read() const override {
        const std::string path = in(directory_, kEnrolmentsFile);
        auto text = read_private(path);
        if (!text && text.error().code == ErrorCode::kNotFound) return Enrolments{};
        if (!text) return tl::make_unexpected(std::move(text.error()));
        auto parsed = parse_enrolments(*text);
        if (!parsed) return with_context(std::move(parsed.error()), path);
        return parsed;
    }
    std::uint64_t stamp() const override {
        struct stat status {};
        if (::stat(in(directory_, kEnrolmentsFile).c_str(), &status) != 0) return 0;
        // A change replaces the file: another one, or the same number again at another time.
        const auto time = static_cast<std::uint64_t>(status.st_mtim.tv_sec) * 1'000'000'000U +
                          static_cast<std::uint64_t>(status.st_mtim.tv_nsec);
        return time * 31 + status.st_ino;
    }

  private:
    std::string directory_;
};

}  // namespace

Result<ClusterState> make_cluster(std::string address, Time now) {
    ClusterState state;
    POTLUCK_ASSIGN(const std::string id, random_bytes(8));
    state.id = hex(id);
    state.address = std::move(address);
    POTLUCK_ASSIGN(state.authority, make_authority(state.id, now));
    POTLUCK_ASSIGN(state.coordinator, issue(state.authority, {Role::kCoordinator, {}}, now));
    return state;
}

Status create_cluster(const std::string& directory, const ClusterState& state) {
    POTLUCK_TRY(make_directory(directory));
    POTLUCK_ASSIGN(const auto locked, lock_file(in(directory, kLockFile)));
    const std::string path = in(directory, kClusterFile);
    std::error_code ec;
    if (fs::exists(fs::symlink_status(path, ec))) {
        return error(ErrorCode::kInvalidArgument,
                     fmt::format("{} holds a cluster already; its workers would be locked out by a "
                                 "new one, so remove it yourself if you mean to",
                                 path));
    }
    return replace_file(path, to_json(state), true);
}

Result<ClusterState> read_cluster(const std::string& directory) {
    const std::string path = in(directory, kClusterFile);
    auto text = read_private(path);
    if (!text && text.error().code == ErrorCode::kNotFound) {
        return error(ErrorCode::kNotFound,
                     fmt::format("there is no cluster in {}: make one with `potluck init`, or "
                                 "start one on this machine alone with `potluck up`",
                                 directory));
    }
    if (!text) return tl::make_unexpected(std::move(text.error()));
    auto object = parse_object(*text);
    if (!object) return with_context(std::move(object.error()), path);
    ClusterState state{.id = text_of(*object, "id"), .address = text_of(*object, "address")};
    const auto* authority = object->if_contains("authority");
    if (authority == nullptr || !authority->is_object())
        return error(ErrorCode::kCorrupt, path + ": there is no authority");
    state.authority = {text_of(authority->get_object(), "certificate"),
                       text_of(authority->get_object(), "key")};
    auto coordinator = credentials_of(*object, "coordinator");
    if (!coordinator) return with_context(std::move(coordinator.error()), path);
    state.coordinator = std::move(*coordinator);
    return state;
}

Status replace_coordinator(const std::string& directory, const Credentials& coordinator) {
    POTLUCK_ASSIGN(const auto locked, lock_file(in(directory, kLockFile)));
    POTLUCK_ASSIGN(ClusterState state, read_cluster(directory));
    state.coordinator = coordinator;
    return replace_file(in(directory, kClusterFile), to_json(state), true);
}

std::unique_ptr<Registry> open_registry(const std::string& directory) {
    return std::make_unique<FileRegistry>(directory);
}

Status write_worker(const std::string& directory, const WorkerState& state) {
    POTLUCK_TRY(make_directory(directory));
    POTLUCK_ASSIGN(const auto locked, lock_file(in(directory, kLockFile)));
    return replace_file(in(directory, kWorkerFile), to_json(state), true);
}

Result<WorkerState> read_worker(const std::string& directory) {
    const std::string path = in(directory, kWorkerFile);
    POTLUCK_ASSIGN(const std::string text, read_private(path));
    auto state = parse_worker(text);
    if (!state) return with_context(std::move(state.error()), path);
    return state;
}

std::string to_json(const WorkerState& state) {
    return json::serialize(json::object{{"coordinator", state.coordinator},
                                        {"credentials", to_object(state.credentials)}});
}

Result<WorkerState> parse_worker(std::string_view text) {
    POTLUCK_ASSIGN(const json::object object, parse_object(text));
    WorkerState state{.coordinator = text_of(object, "coordinator")};
    POTLUCK_ASSIGN(state.credentials, credentials_of(object, "credentials"));
    return state;
}

}  // namespace potluck::security
