// Runs a fuzz target over the files of a folder, once each, where there is no libFuzzer; then, if
// asked to, over as many damaged ones, made from the files by a generator that gives the same ones
// for the same seed.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include "base/rng.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using Input = std::vector<std::uint8_t>;

/// Numbers in the order of their asking.
class Draws {
  public:
    explicit Draws(std::uint64_t seed) : seed_(seed) {}
    std::uint64_t next() {
        const auto half = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
        const auto drawn =
            potluck::philox4x32({half(n_), half(n_ >> 32), 0, 0}, {half(seed_), half(seed_ >> 32)});
        ++n_;
        return std::uint64_t{drawn[0]} << 32 | drawn[1];
    }
    std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }

  private:
    std::uint64_t seed_;
    std::uint64_t n_ = 0;
};

/// One to four changes of a file: bits, whole numbers at their bounds, cuts, repeats, and the end
/// of another file.
void damage(Input& input, const std::vector<Input>& files, Draws& draws) {
    constexpr std::uint8_t kBounds[] = {0x00, 0x01, 0x7F, 0x80, 0xFF};
    for (std::size_t n = 1 + draws.below(4); n > 0 && !input.empty(); --n) {
        const std::size_t at = draws.below(input.size());
        const auto begin = input.begin() + static_cast<std::ptrdiff_t>(at);
        switch (draws.below(8)) {
            case 0:
            case 1:
            case 2:
                input[at] = static_cast<std::uint8_t>(input[at] ^ (1U << draws.below(8)));
                break;
            case 3:
                input[at] = static_cast<std::uint8_t>(draws.next());
                break;
            case 4:
                std::fill(begin,
                          begin + static_cast<std::ptrdiff_t>(
                                      std::min<std::size_t>(4, input.size() - at)),
                          kBounds[draws.below(std::size(kBounds))]);
                break;
            case 5:
                input.resize(at);
                break;
            case 6: {
                const Input copy(begin, begin + static_cast<std::ptrdiff_t>(std::min<std::size_t>(
                                                    1 + draws.below(64), input.size() - at)));
                input.insert(input.begin() + static_cast<std::ptrdiff_t>(at), copy.begin(),
                             copy.end());
                break;
            }
            default: {
                const Input& other = files[draws.below(files.size())];
                if (other.empty()) break;
                const std::size_t from = draws.below(other.size());
                input.resize(at);
                input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from),
                             other.end());
            }
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2 || argc > 4 || !fs::is_directory(argv[1])) {
        std::fprintf(stderr, "usage: %s <corpus folder> [damaged inputs [seed]]\n", argv[0]);
        return 1;
    }
    std::vector<fs::path> paths;
    for (const auto& entry : fs::recursive_directory_iterator(argv[1]))
        if (entry.is_regular_file()) paths.push_back(entry.path());
    std::sort(paths.begin(), paths.end());
    std::vector<Input> files;
    for (const auto& path : paths) {
        std::printf("%s\n", path.c_str());
        std::fflush(stdout);  // the last name printed is the one that failed
        std::ifstream in(path, std::ios::binary);
        const std::vector<char> bytes(std::istreambuf_iterator<char>(in), {});
        files.emplace_back(bytes.begin(), bytes.end());
        LLVMFuzzerTestOneInput(files.back().data(), files.back().size());
    }
    if (files.empty()) return 1;  // an empty corpus tests nothing
    const std::uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
    const std::uint64_t seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
    Draws draws(seed);
    const auto begin = std::chrono::steady_clock::now();
    std::uint64_t bytes = 0;
    Input input;
    for (std::uint64_t i = 0; i < count; ++i) {
        input = files[draws.below(files.size())];
        damage(input, files, draws);
        LLVMFuzzerTestOneInput(input.data(), input.size());
        bytes += input.size();
    }
    if (count > 0) {
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
        std::printf("%llu damaged inputs (seed %llu, %llu bytes) in %.1f s, no failure\n",
                    static_cast<unsigned long long>(count), static_cast<unsigned long long>(seed),
                    static_cast<unsigned long long>(bytes), took.count());
    }
    return 0;
}
