#pragma once

// `potluck inspect <file>`: what a model file holds and what of it this build cannot run.

#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "model/gguf/gguf.h"

namespace potluck::cli {

struct InspectOptions {
    std::span<const std::string_view> architectures;  ///< those that this build knows
    /// Says what is wrong with the file's tokenizer; may be empty, then nothing is said about it.
    std::function<Status(const model::gguf::Gguf&)> check_tokenizer;
    bool tensors = true;  ///< list every tensor, not only the totals
};

/// Prints to standard output and returns the exit code: 0, or 2 if something is unsupported. If the
/// file cannot be read, says why on standard error and returns 1.
int run_inspect(const std::filesystem::path& path, const InspectOptions& options);

}  // namespace potluck::cli
