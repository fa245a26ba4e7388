#include "cli/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>

#include "base/byte_text.h"
#include "base/printable.h"
#include "base/tensor_type.h"
#include "model/gguf/describe.h"

namespace potluck::cli {
namespace {

using namespace model::gguf;  // this file is about nothing else

void print_head(const Gguf& file) {
    fmt::print("{}: GGUF version {}, {}, {} keys, {} tensors\n", file.name(), file.version(),
               byte_text(file.file_bytes()), file.metadata().size(), file.tensors().size());
    if (file.shard_count() == 1) return;
    for (std::uint32_t i = 0; i < file.shard_count(); ++i)
        fmt::print("  file {} of {}: {}\n", i + 1, file.shard_count(), file.shard_name(i));
}

void print_metadata(const Gguf& file) {
    std::size_t width = 0;
    for (const auto& kv : file.metadata())
        width = std::max(width, printable(kv.key).size());
    fmt::print("\nmetadata\n");
    for (const auto& kv : file.metadata())
        fmt::print("  {:<{}}  {:<6}  {}\n", printable(kv.key), width, to_string(kv.type),
                   describe_value(kv));
}

void print_tensors(const Gguf& file) {
    std::size_t name_width = 0;
    std::size_t dims_width = 0;
    for (const auto& tensor : file.tensors()) {
        name_width = std::max(name_width, printable(tensor.name).size());
        dims_width = std::max(dims_width, describe_dims(tensor).size());
    }
    fmt::print("\ntensors\n");
    for (const auto& tensor : file.tensors())
        fmt::print("  {:<{}}  {:<7}  {:<{}}  {:>10}\n", printable(tensor.name), name_width,
                   to_string(tensor.type), describe_dims(tensor), dims_width,
                   byte_text(tensor.bytes));
}

void print_totals(const Gguf& file) {
    fmt::print("\ntotals by type\n");
    for (const auto& total : totals_by_type(file.tensors()))
        fmt::print("  {:<7}  {:>6} tensors  {:>10}\n", to_string(total.type), total.tensors,
                   byte_text(total.bytes));
}

}  // namespace

int run_inspect(const std::filesystem::path& path, const InspectOptions& options) {
    const auto file = Gguf::open(path);
    if (!file) {
        fmt::print(stderr, "{}\n", file.error().message);
        return 1;
    }
    print_head(**file);
    print_metadata(**file);
    if (!(*file)->tensors().empty()) {
        if (options.tensors) print_tensors(**file);
        print_totals(**file);
    }
    std::optional<std::string> tokenizer_problem;
    if (options.check_tokenizer)
        if (const auto status = options.check_tokenizer(**file); !status)
            tokenizer_problem = status.error().message;
    const auto missing = list_unsupported(**file, options.architectures, tokenizer_problem);
    fmt::print("\nunsupported{}\n", missing.empty() ? ": nothing" : "");
    for (const auto& line : missing)
        fmt::print("  {}\n", line);
    return missing.empty() ? 0 : 2;
}

}  // namespace potluck::cli
