// What the processor and the operating system offer, by cpuid and xgetbv.

#include <array>
#include <cstring>

#include "kernels/cpu/cpu_device.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/tile_kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace potluck::kernels::cpu {
namespace {

constexpr std::array<Isa, 3> kIsas = {Isa::kScalar, Isa::kAvx2, Isa::kAvx512};

#if defined(__x86_64__)

/// The registers that the operating system saves (XCR0); 0 if it does not say.
unsigned saved_registers(unsigned leaf1_ecx) {
    if ((leaf1_ecx & bit_OSXSAVE) == 0) return 0;
    unsigned low = 0;
    unsigned high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/// Exactly what the flags of the *_avx2.cpp and *_avx512.cpp files (cmake/potluck.cmake) let the
/// compiler use.
std::size_t count_available() {
    constexpr unsigned kSavesAvx = 0x6;      // XMM and YMM
    constexpr unsigned kSavesAvx512 = 0xE6;  // also masks and all of ZMM
    constexpr unsigned kLeaf1 = bit_FMA | bit_F16C | bit_AVX;
    constexpr unsigned kLeaf7b = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    constexpr unsigned kLeaf7c = bit_AVX512VBMI | bit_AVX512VNNI;
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0) return 1;
    const unsigned saved = saved_registers(c);
    if ((c & kLeaf1) != kLeaf1 || (saved & kSavesAvx) != kSavesAvx) return 1;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (b & bit_AVX2) == 0) return 1;
    if ((b & kLeaf7b) != kLeaf7b || (c & kLeaf7c) != kLeaf7c) return 2;
    return (saved & kSavesAvx512) == kSavesAvx512 ? 3 : 2;
}

/// AMD's cores take a non-temporal prefetch as fast as any other, and keep it out of the second
/// level. Intel's serve it with the few fill buffers of the first level: on a Sapphire Rapids one
/// core then decoded at 0.4 of the speed that it has with prefetches into the second level.
bool is_amd() {
    unsigned highest = 0;
    std::array<unsigned, 3> vendor{};  // EBX, EDX, ECX
    return __get_cpuid(0, &highest, &vendor[0], &vendor[2], &vendor[1]) != 0 &&
           std::memcmp(vendor.data(), "AuthenticAMD", 12) == 0;
}

#else

std::size_t count_available() {
    return 1;
}

bool is_amd() {
    return false;
}

#endif

}  // namespace

std::string_view to_string(Isa isa) {
    switch (isa) {
        case Isa::kScalar:
            return "scalar";
        case Isa::kAvx2:
            return "avx2";
        case Isa::kAvx512:
            return "avx512";
    }
    return "unknown";
}

std::optional<Isa> parse_isa(std::string_view name) {
    for (const Isa isa : kIsas)
        if (name == to_string(isa)) return isa;
    return std::nullopt;
}

std::span<const Isa> available_isas() {
    static const std::size_t count = count_available();
    return std::span(kIsas).first(count);
}

bool prefetches_past_l2() {
    static const bool past = is_amd();
    return past;
}

const FloatKernels& float_kernels(Isa isa) {
    switch (isa) {
        case Isa::kAvx512:
            return kFloatKernelsAvx512;
        case Isa::kAvx2:
            return kFloatKernelsAvx2;
        case Isa::kScalar:
            break;
    }
    return kFloatKernelsScalar;
}

}  // namespace potluck::kernels::cpu
