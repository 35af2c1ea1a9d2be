// From the C ABI's arguments to launches of bodies: which type, which grid. Compiled by nvcc into
// the library, and by the host's compiler into the table that the tests use.
#pragma once

#include "model/cuda/attend_body.h"
#include "model/cuda/norm_body.h"
#include "model/cuda/recurrent_body.h"
#include "model/cuda/rope_body.h"
#include "model/cuda/sample_body.h"
#include "model/cuda/shim.h"

namespace lfm2::cuda {

// Runs `launch` with a value of the type that dtype names.
template <typename LaunchWith>
int ForType(int dtype, LaunchWith&& launch) {
  return dtype == kLfm2CudaBf16 ? launch(Bf16{}) : launch(float{});
}

inline int RunEmbed(Lfm2CudaContext* context, const Lfm2CudaEmbed* args) {
  return ForType(args->dtype, [&](auto type) {
    return Launch<EmbedBody<decltype(type)>>(context, {args->rows}, *args);
  });
}

inline int RunNorm(Lfm2CudaContext* context, const Lfm2CudaNorm* args) {
  return ForType(args->dtype, [&](auto type) {
    return Launch<NormBody<decltype(type)>>(context, {args->rows}, *args);
  });
}

inline int RunBias(Lfm2CudaContext* context, const Lfm2CudaBias* args) {
  return ForType(args->dtype, [&](auto type) {
    using Body = BiasBody<decltype(type)>;
    return Launch<Body>(context, {CeilDiv(args->width, Body::kThreads), args->rows}, *args);
  });
}

inline int RunSiluMul(Lfm2CudaContext* context, const Lfm2CudaSiluMul* args) {
  return ForType(args->dtype, [&](auto type) {
    using Body = SiluMulBody<decltype(type)>;
    return Launch<Body>(context, {CeilDiv(args->width, Body::kThreads), args->rows}, *args);
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

inline int RunConv(Lfm2CudaContext* context, const Lfm2CudaConv* args) {
  return ForType(args->dtype, [&](auto type) {
    using Body = ConvBody<decltype(type)>;
    return Launch<Body>(context, {CeilDiv(args->width, Body::kThreads), args->rows}, *args);
  });
}

inline int RunSsm(Lfm2CudaContext* context, const Lfm2CudaSsm* args) {
  return ForType(args->dtype, [&](auto type) {
    using Body = SsmBody<decltype(type)>;
    return Launch<Body>(context, {CeilDiv(args->width, Body::kThreads), args->rows}, *args);
  });
}

inline int RunSample(Lfm2CudaContext* context, const Lfm2CudaSample* args) {
  return ForType(args->dtype, [&](auto type) {
    return Launch<SampleBody<decltype(type)>>(context, {args->rows}, *args);
  });
}

// The kernels of the table; the rest of it is null.
inline Lfm2CudaFunctions Kernels() {
  Lfm2CudaFunctions out{};
  out.abi = LFM2_CUDA_ABI;
  out.embed = RunEmbed;
  out.norm = RunNorm;
  out.bias = RunBias;
  out.silu_mul = RunSiluMul;
  out.rope = RunRope;
  out.attend = RunAttend;
  out.kv_store = RunKvCopy<true>;
  out.kv_load = RunKvCopy<false>;
  out.conv = RunConv;
  out.ssm = RunSsm;
  out.sample = RunSample;
  return out;
}

}  // namespace lfm2::cuda
