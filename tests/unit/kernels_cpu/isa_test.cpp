#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <optional>

#include "kernels/cpu/cpu_device.h"

namespace potluck::kernels::cpu {
namespace {

/// Sets POTLUCK_CPU_ISA for a scope.
class IsaVariable {
  public:
    explicit IsaVariable(const char* value) { setenv(kName, value, 1); }
    ~IsaVariable() {
        if (before_)
            setenv(kName, before_->c_str(), 1);
        else
            unsetenv(kName);
    }
    IsaVariable(const IsaVariable&) = delete;
    IsaVariable& operator=(const IsaVariable&) = delete;

  private:
    static constexpr const char* kName = "POTLUCK_CPU_ISA";
    std::optional<std::string> before_ =
        std::getenv(kName) ? std::optional<std::string>(std::getenv(kName)) : std::nullopt;
};

TEST(Isa, NamesComeBack) {
    for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512})
        EXPECT_EQ(parse_isa(to_string(isa)), isa);
    EXPECT_EQ(parse_isa("AVX2"), std::nullopt);
    EXPECT_EQ(parse_isa(""), std::nullopt);
}

TEST(Isa, ScalarIsAlwaysThereAndTheListAscends) {
    const auto isas = available_isas();
    ASSERT_FALSE(isas.empty());
    EXPECT_EQ(isas.front(), Isa::kScalar);
    for (std::size_t i = 1; i < isas.size(); ++i)
        EXPECT_LT(isas[i - 1], isas[i]);
}

TEST(Isa, AgreesWithTheCompilersOwnDetection) {
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    const bool avx512 =
        avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
    EXPECT_EQ(available_isas().size(), 1U + (avx2 ? 1U : 0U) + (avx512 ? 1U : 0U));
}

TEST(Isa, TheEnvironmentChoosesUnlessTheOptionsDo) {
    const IsaVariable variable("scalar");
    EXPECT_EQ((*make_cpu_device({.threads = 1}))->name(), "cpu (1 thread, scalar)");
    const Isa best = available_isas().back();
    EXPECT_EQ((*make_cpu_device({.threads = 1, .isa = best}))->name(),
              "cpu (1 thread, " + std::string(to_string(best)) + ")");
}

TEST(Isa, AnUnknownNameIsRefusedWithThoseThatAreThere) {
    const IsaVariable variable("sse9");
    const auto device = make_cpu_device({.threads = 1});
    ASSERT_FALSE(device);
    EXPECT_EQ(device.error().code, ErrorCode::kUnsupported);
    EXPECT_NE(device.error().message.find("\"sse9\""), std::string::npos);
    EXPECT_NE(device.error().message.find("scalar"), std::string::npos);
}

TEST(Isa, OneThreadPerUsableCoreByDefault) {
    cpu_set_t set;
    CPU_ZERO(&set);
    ASSERT_EQ(sched_getaffinity(0, sizeof(set), &set), 0);
    const int cores = CPU_COUNT(&set);
    const IsaVariable variable("scalar");
    EXPECT_EQ(
        (*make_cpu_device({}))->name(),
        "cpu (" + std::to_string(cores) + (cores == 1 ? " thread" : " threads") + ", scalar)");
}

}  // namespace
}  // namespace potluck::kernels::cpu
