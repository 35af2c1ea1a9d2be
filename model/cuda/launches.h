// Launches bodies with the C ABI's arguments: chooses the type and the grid. Compiled by nvcc for
// the library, and by the host's compiler for the table that the tests use.
#pragma once

#include "model/cuda/attend_body.h"
#include "model/cuda/norm_body.h"
#include "model/cuda/recurrent_body.h"
#include "model/cuda/rope_body.h"
#include "model/cuda/sample_body.h"
#include "model/cuda/shim.h"

namespace lfm2::cuda {

// Calls `launch` with a value of the type that dtype names.
template <typename LaunchWith>
int ForType(int dtype, LaunchWith&& launch) {
  return dtype == kLfm2CudaBf16 ? launch(Bf16{}) : launch(float{});
}

// One thread block per row.
template <template <typename> class Body, typename Args>
int RunRows(Lfm2CudaContext* context, const Args* args) {
  return ForType(args->dtype, [&](auto type) {
    return Launch<Body<decltype(type)>>(context, {args->rows}, *args);
  });
}

// One thread per column of each row, for bodies that use EachColumn.
template <template <typename> class Body, typename Args>
int RunColumns(Lfm2CudaContext* context, const Args* args) {
  return ForType(args->dtype, [&](auto type) {
    using Typed = Body<decltype(type)>;
    return Launch<Typed>(context, {CeilDiv(args->width, Typed::kThreads), args->rows}, *args);
  });
}

inline int RunRope(Lfm2CudaContext* context, const Lfm2CudaRope* args) {
  return ForType(args->dtype, [&](auto type) {
    return Launch<RopeBody<decltype(type)>>(context, {args->heads + 2 * args->kv_heads, args->rows},
                                            *args);
  });
}

template <typename T, int kQueries>
int RunAttendParts(Lfm2CudaContext* context, const Lfm2CudaAttend& args) {
  const int64_t slices = CeilDiv(args.heads / args.kv_heads, kQueries);
  return Launch<AttendBody<T, kQueries>>(context, {args.parts, args.kv_heads * slices, args.rows},
                                         args);
}

inline int RunAttend(Lfm2CudaContext* context, const Lfm2CudaAttend* args) {
  return ForType(args->dtype, [&](auto type) {
    using T = decltype(type);
    const int group = args->heads / args->kv_heads;
    const int code = group == 1   ? RunAttendParts<T, 1>(context, *args)
                     : group == 2 ? RunAttendParts<T, 2>(context, *args)
                                  : RunAttendParts<T, 4>(context, *args);
    if (code != 0) return code;
    return Launch<JoinPartsBody<T>>(context, {args->heads, args->rows}, *args);
  });
}

template <bool kStore>
int RunKvCopy(Lfm2CudaContext* context, const Lfm2CudaKvCopy* args) {
  return ForType(args->dtype, [&](auto type) {
    return Launch<KvCopyBody<decltype(type), kStore>>(context, {args->tokens, args->kv_heads},
                                                      *args);
  });
}

// The table's kernels; its other functions are null.
inline Lfm2CudaFunctions Kernels() {
  Lfm2CudaFunctions out{};
  out.abi = LFM2_CUDA_ABI;
  out.embed = RunRows<EmbedBody>;
  out.norm = RunRows<NormBody>;
  out.bias = RunColumns<BiasBody>;
  out.silu_mul = RunColumns<SiluMulBody>;
  out.rope = RunRope;
  out.attend = RunAttend;
  out.kv_store = RunKvCopy<true>;
  out.kv_load = RunKvCopy<false>;
  out.conv = RunColumns<ConvBody>;
  out.ssm = RunColumns<SsmBody>;
  out.sample = RunRows<SampleBody>;
  return out;
}

}  // namespace lfm2::cuda
