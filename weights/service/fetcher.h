#pragma once

// Fetches objects into a store from everybody who has them, in parallel: several requests on the
// way at each holder, whoever is faster serves more. What a holder sends is verified before it
// counts; one that sends something else is dropped for good. A holder that is lost is dialled again
// a few times, and the others go on.
//
// Thread: its user's, which it blocks: it runs an event loop of its own, with a transport of its
// own, so that neither hashing nor writing to disk holds up the loop that keeps a node alive.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "links/control_link.h"
#include "transport/api.h"
#include "weights/store.h"
#include "weights/tree.h"

namespace potluck::weights {

/// Makes the transport of a fetcher, on its loop.
using MakeTransport =
    std::function<Result<std::unique_ptr<transport::Transport>>(boost::asio::io_context&)>;

struct Transfer {
    bool hashing = false;  ///< the coordinator's machine reads the model; else bytes that are here
    std::uint64_t done = 0;
    std::uint64_t total = 0;
    std::uint64_t bytes_per_second = 0;  ///< lately; 0: not known yet
};

struct FetcherOptions {
    std::string node_name;                    ///< our own
    std::vector<links::Destination> holders;  ///< the first one is the coordinator
    std::function<bool()> cancelled;          ///< asked a few times a second
    std::function<void(const Transfer&)> on_progress;
};

struct FetchCounts {
    std::uint64_t fetched_bytes = 0;   ///< of chunks that came over the network and were right
    std::uint64_t repeated_bytes = 0;  ///< of those that had come already
    std::uint64_t holders = 0;         ///< that sent any
    std::uint64_t dropped = 0;         ///< holders that sent something wrong
};

class Fetcher {
  public:
    static Result<std::unique_ptr<Fetcher>> create(FetcherOptions options,
                                                   const MakeTransport& make_transport);
    ~Fetcher();

    /// Where the manifest of the model with this fingerprint is, from the coordinator, who may have
    /// to hash the model first. kNotFound if it serves another one.
    Result<ObjectRef> find_manifest(const Digest& fingerprint);
    /// Completes these objects. kPeerLost if nobody who has one can be reached, kNotFound if nobody
    /// has it, kCancelled; or what went wrong in the store.
    Status complete(std::span<StoredObject> objects);
    FetchCounts counts() const;

  private:
    struct Impl;
    explicit Fetcher(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace potluck::weights
