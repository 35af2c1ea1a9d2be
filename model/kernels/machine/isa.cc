#include "model/kernels/machine/isa.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <string>

#include "base/errors.h"

namespace lfm2 {
namespace {

constexpr Isa kBestFirst[] = {Isa::kAmx, Isa::kAvx512BF16, Isa::kAvx512, Isa::kAvx2,
                              Isa::kPortable};

#if defined(__x86_64__)
// Queries the processor directly, because clang 14 has no names for these features. Whether the
// system saves the registers is part of the answers for AVX2 and AVX-512 F.
bool HasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & (1U << 29)) != 0;
}

bool HasAvx512BFloat16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & (1U << 5)) != 0;
}

bool HasAmx() {
  constexpr unsigned kBf16 = 1U << 22, kTile = 1U << 24, kInt8 = 1U << 25;
  constexpr unsigned kAll = kBf16 | kTile | kInt8;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & kAll) == kAll;
}

// The tiles are 8 KB of registers, which Linux saves only for a process that has requested it.
bool SystemSavesTiles() {
#if defined(__linux__)
  constexpr long kArchReqXcompPerm = 0x1023, kXfeatureXtiledata = 18;
  static const bool granted = syscall(SYS_arch_prctl, kArchReqXcompPerm, kXfeatureXtiledata) == 0;
  return granted;
#else
  return false;
#endif
}
#endif

bool IsIntel() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  return __builtin_cpu_is("intel") != 0;
#else
  return false;
#endif
}

}  // namespace

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx512BF16:
      return "avx512_bf16";
    case Isa::kAmx:
      return "amx";
  }
  return "unknown";
}

bool CanRun(Isa isa) {
  if (isa == Isa::kPortable) return true;
#if defined(__x86_64__)
  // The compiler's run-time support uses xgetbv to find the registers that the system saves.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && HasF16c();
  if (isa == Isa::kAvx2) return avx2;
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
  if (isa == Isa::kAvx512) return avx512;
  if (isa == Isa::kAvx512BF16) return avx512 && HasAvx512BFloat16();
  return avx512 && HasAvx512BFloat16() && HasAmx() && SystemSavesTiles();
#else
  return false;
#endif
}

Isa DetectIsa() {
  for (Isa isa : kBestFirst) {
    if (isa == Isa::kAvx512BF16 && IsIntel()) continue;
    if (CanRun(isa)) return isa;
  }
  return Isa::kPortable;
}

int MemoryStreams() { return IsIntel() ? 2 : 1; }

absl::StatusOr<Isa> IsaByName(std::string_view name) {
  for (Isa isa : kBestFirst) {
    if (name != IsaName(isa)) continue;
    if (CanRun(isa)) return isa;
    return Error(Reason::kUnsupported,
                 "instruction set " + std::string(name) +
                     " cannot run on this machine, the best is " + IsaName(DetectIsa()),
                 {{"isa", std::string(name)}, {"best", IsaName(DetectIsa())}});
  }
  return Error(Reason::kInvalidArgument,
               "instruction set \"" + std::string(name.substr(0, 32)) +
                   "\" is not one of portable, avx2, avx512, avx512_bf16, amx");
}

absl::StatusOr<Isa> IsaFromEnvironment() {
  const char* name = std::getenv("LFM2_ISA");
  if (name == nullptr || *name == '\0') return DetectIsa();
  return IsaByName(name);
}

}  // namespace lfm2
