#include "model/kernels/isa.h"

#include <cstdlib>
#include <string>

#include "model/core/errors.h"

namespace lfm2 {
namespace {

constexpr Isa kBestFirst[] = {Isa::kAvx512, Isa::kAvx2, Isa::kPortable};

}  // namespace

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

bool CanRun(Isa isa) {
  if (isa == Isa::kPortable) return true;
#if defined(__x86_64__)
  // The compiler's run-time support asks xgetbv for the registers that the system saves.
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c");
  if (isa == Isa::kAvx2) return avx2;
  return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Isa DetectIsa() {
  for (Isa isa : kBestFirst) {
    if (CanRun(isa)) return isa;
  }
  return Isa::kPortable;
}

absl::StatusOr<Isa> IsaByName(std::string_view name) {
  for (Isa isa : kBestFirst) {
    if (name != IsaName(isa)) continue;
    if (CanRun(isa)) return isa;
    return Error(Reason::kUnsupported,
                 "instruction set " + std::string(name) +
                     " is not one this machine runs, best is " + IsaName(DetectIsa()),
                 {{"isa", std::string(name)}, {"best", IsaName(DetectIsa())}});
  }
  return Error(Reason::kInvalidArgument, "instruction set \"" + std::string(name.substr(0, 32)) +
                                             "\" is none of portable, avx2, avx512");
}

absl::StatusOr<Isa> IsaFromEnvironment() {
  const char* name = std::getenv("LFM2_ISA");
  if (name == nullptr || *name == '\0') return DetectIsa();
  return IsaByName(name);
}

}  // namespace lfm2
