#pragma once

// Where a worker gets a model from: the file that the plan names, if it is the same here, or its
// own tensors over the network, through the cache. And what it has in the cache, it gives to
// others.
//
// Thread: made and serving on the loop's; open() on any, several at once, and it blocks.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/io_context.hpp>

#include "base/result.h"
#include "links/control_link.h"
#include "model/gguf/gguf.h"
#include "model/graph/config.h"
#include "model/graph/graph.h"
#include "proto/control.h"
#include "weights/service/fetcher.h"
#include "weights/service/server.h"

namespace potluck::worker {

struct ModelFilesOptions {
    bool local_files = true;           ///< false: fetch even what could be read here
    std::filesystem::path cache;       ///< of fetched weights; empty: nothing can be fetched
    std::uint64_t cache_bytes = 0;     ///< 0: half of what is free
    std::uint64_t serve_rate = 0;      ///< bytes per second to other workers; 0: no limit
    weights::MakeTransport transport;  ///< any thread; empty: nothing can be fetched
};

/// What a stage needs of a model.
struct ModelPart {
    proto::ModelSource source;
    model::ShardSpec shard;
    model::RotaryOverride rotary;
};

class ModelFiles {
  public:
    /// `coordinator` is the address that this worker dials.
    ModelFiles(boost::asio::io_context& loop, ModelFilesOptions options, std::string node_name,
               std::string coordinator);

    /// The model with the data of the part's tensors, of which those that are fetched are locked in
    /// the cache while it lives. `cancelled` is asked a few times a second whether to stop
    /// (kCancelled). The error says why neither way works.
    Result<std::shared_ptr<const model::gguf::Gguf>> open(
        const ModelPart& part, const std::function<bool()>& cancelled,
        const std::function<void(const weights::Transfer&)>& on_progress) const;

    /// Serves another worker, whose Hello was for weights. False: it gets none here.
    bool serve(const std::shared_ptr<links::ControlLink>& link);

  private:
    Result<std::shared_ptr<const model::gguf::Gguf>> open_local(
        const proto::ModelSource& source) const;
    Result<std::shared_ptr<const model::gguf::Gguf>> fetch(
        const ModelPart& part, const std::function<bool()>& cancelled,
        const std::function<void(const weights::Transfer&)>& on_progress) const;

    ModelFilesOptions options_;
    std::string node_name_;
    std::string coordinator_;
    std::unique_ptr<weights::Server> server_;
};

}  // namespace potluck::worker
