// Which instruction set the CPU kernels run with, chosen at run time.
//
// Thread rule: all functions are pure, except for reading the environment.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

enum class Isa {
  kPortable,    // SSE2, which every x86-64 has; or any other machine
  kAvx2,        // AVX2, FMA and F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL and VNNI
  kAvx512BF16,  // those, and BF16
  kAmx,         // those, and AMX TILE, INT8 and BF16
};

const char* IsaName(Isa isa);  // "portable", "avx2", "avx512", "avx512_bf16", "amx"

// True when the processor has the instructions and the operating system saves their registers. The
// first call for kAmx asks the system to do so, for all threads of the process from then on.
bool CanRun(Isa isa);

// The fastest one that CanRun. On Intel's processors that is never kAvx512BF16: their VDPBF16PS is
// slower than the two multiply-adds that it replaces.
Isa DetectIsa();

// How many memory streams a thread should read at once: 2 on Intel's processors, where that is a
// sixth faster than 1; 1 on others, since AMD's read one stream fastest.
int MemoryStreams();

// kInvalidArgument for an unknown name, kUnsupported for an instruction set that this machine
// cannot run.
absl::StatusOr<Isa> IsaByName(std::string_view name);

// IsaByName of the environment variable LFM2_ISA; DetectIsa() when it is unset or empty.
absl::StatusOr<Isa> IsaFromEnvironment();

}  // namespace lfm2
