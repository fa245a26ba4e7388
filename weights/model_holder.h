#pragma once

// The holder on the coordinator's machine: serves a model's tensors straight from its file, and the
// manifest that it makes. Nothing of the file stays in memory but 32 bytes per MiB.
//
// The file is hashed when somebody first asks, once: the hashes are remembered in the cache
// directory under the file's path, with the size, inode and times of every file of the model, so
// that a later start reads nothing.

#include <filesystem>
#include <memory>

#include "base/result.h"
#include "model/gguf/gguf.h"
#include "weights/holder.h"

namespace potluck::weights {

/// Keeps `file`. An empty `cache_directory`: hashes are not remembered. The directory is made when
/// it is needed; if that fails the log says so and nothing is remembered.
std::unique_ptr<Holder> make_model_holder(std::shared_ptr<const model::gguf::Gguf> file,
                                          std::filesystem::path cache_directory);

}  // namespace potluck::weights
