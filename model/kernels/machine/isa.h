// Which instruction set the CPU kernels run with, chosen at run time.
//
// Thread rule: all functions are pure, but for reading the environment.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace lfm2 {

enum class Isa {
  kPortable,    // what every x86-64 has (SSE2), or any other machine
  kAvx2,        // AVX2, FMA and F16C
  kAvx512,      // AVX-512 F, BW, DQ, VL and VNNI
  kAvx512BF16,  // those, and BF16
  kAmx,         // those, and AMX TILE, INT8 and BF16
};

const char* IsaName(Isa isa);  // "portable", "avx2", "avx512", "avx512_bf16", "amx"

// True when the processor has the instructions and the operating system saves their registers. The
// first question about kAmx asks the system to, for all threads of the process from then on.
bool CanRun(Isa isa);

// The fastest one that CanRun. On Intel's processors that is not kAvx512BF16: their VDPBF16PS takes
// more time than the two multiply-adds that it saves.
Isa DetectIsa();

// Places in memory that a thread best reads at once: 2 on Intel's processors, where that is faster
// by a sixth than 1; 1 on others, AMD's read one stream fastest.
int MemoryStreams();

// kInvalidArgument for a name that is none of the above, kUnsupported for one that this machine
// cannot run.
absl::StatusOr<Isa> IsaByName(std::string_view name);

// IsaByName of the environment variable LFM2_ISA; DetectIsa() when it is unset or empty.
absl::StatusOr<Isa> IsaFromEnvironment();

}  // namespace lfm2
