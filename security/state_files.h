#pragma once

// What a cluster remembers, as files of one directory (0700, files 0600, replaced whole by
// rename): cluster.json (coordinator: authority, its certificate, address), enrolments.json (tokens
// and names), worker.json (a worker's certificate and where its coordinator is). A file that others
// can read is refused. Reading and writing block: for the start of a program and for enrolments,
// which are rare.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "security/certificates.h"
#include "security/enrolments.h"

namespace potluck::security {

/// Of a coordinator.
struct ClusterState {
    std::string id;
    std::string address;  ///< where workers reach it, "host:port"
    Authority authority;
    Credentials coordinator;
};

/// Of a worker; also what `potluck up` hands to each of its workers.
struct WorkerState {
    std::string coordinator;  ///< address
    Credentials credentials;
};

/// Keeps Enrolments. `change` reads them, lets `edit` change them and has written them when it
/// returns; an error of `edit` keeps them as they were and is returned.
class Registry {
  public:
    virtual ~Registry() = default;
    virtual Status change(const std::function<Status(Enrolments&)>& edit) = 0;
    /// As they are written now; waits for nobody.
    virtual Result<Enrolments> read() const = 0;
    /// Another number whenever they were changed, also by another process; cheap.
    virtual std::uint64_t stamp() const = 0;
};

/// A new authority and its coordinator's certificate; nothing is written.
Result<ClusterState> make_cluster(std::string address, Time now);

/// kInvalidArgument if there is a cluster in `directory` already.
Status create_cluster(const std::string& directory, const ClusterState& state);
/// kNotFound that says what to do if there is none.
Result<ClusterState> read_cluster(const std::string& directory);
/// The coordinator's renewed certificate instead of the old one.
Status replace_coordinator(const std::string& directory, const Credentials& coordinator);
std::unique_ptr<Registry> open_registry(const std::string& directory);

Status write_worker(const std::string& directory, const WorkerState& state);
/// kNotFound if this machine has not joined.
Result<WorkerState> read_worker(const std::string& directory);

std::string to_json(const WorkerState& state);
Result<WorkerState> parse_worker(std::string_view json);

}  // namespace potluck::security
