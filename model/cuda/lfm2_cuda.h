/* The C ABI of liblfm2_cuda.so: the parts of a decode step on a GPU. The one exported symbol
 * returns a table of functions; all pointers in their arguments are device pointers unless said
 * otherwise.
 *
 * All functions except `wait`, `allocate`, `release`, `open` and `close` put work on the context's
 * stream and return at once. That stream synchronises with the device's legacy default stream in
 * both directions, so its work is in order with LibTorch's. Each function returns 0 or a code that
 * error_text explains. Thread rule: a context belongs to one thread at a time.
 *
 * Types: `dtype` is that of activations, weights, keys, values and convolution states. Sums,
 * softmax and state-space states are float32. A row whose position or slot is -1 is padding: it
 * may be computed, but changes no state. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LFM2_CUDA_ABI 1

enum { kLfm2CudaF32 = 0, kLfm2CudaBf16 = 1 };
enum {
  kLfm2CudaBlockTokens = 32, /* tokens of a KV block */
  kLfm2CudaPartTokens = 256  /* keys that one thread block attends to */
};
enum { kLfm2CudaOutOfMemory = 2 }; /* cudaErrorMemoryAllocation */

#ifdef __CUDACC__
#define LFM2_CUDA_INLINE static inline __host__ __device__
#else
#define LFM2_CUDA_INLINE static inline
#endif

/* Channels per head in a KV block, with padding. A block of one layer has kv_heads *
 * kLfm2CudaBlockTokens * lfm2_cuda_padded(head_dim) keys and as many values. */
LFM2_CUDA_INLINE int lfm2_cuda_padded(int head_dim) { return (head_dim + 7) / 8 * 8; }

typedef struct Lfm2CudaContext Lfm2CudaContext;
typedef struct Lfm2CudaGraph Lfm2CudaGraph;

/* out[row] = table[ids[row]]. */
typedef struct {
  int dtype, rows, width;
  const void* table;
  const int32_t* ids;
  void* out;
} Lfm2CudaEmbed;

/* x += add[0], then += add[1], each rounded to dtype and either may be null; then
 * out = round(x / sqrt(mean(x^2) + eps)) * weight. */
typedef struct {
  int dtype, rows, width;
  float eps;
  void* x;
  const void* add[2];
  const void* weight;
  void* out;
} Lfm2CudaNorm;

/* x[row] += bias. */
typedef struct {
  int dtype, rows, width;
  const void* bias;
  void* x;
} Lfm2CudaBias;

/* out [rows][width] = silu(gate) * up of gate_up [rows][2 width]: gate, up. */
typedef struct {
  int dtype, rows, width;
  const void* gate_up;
  void* out;
} Lfm2CudaSiluMul;

/* y [rows][out] = x [rows][in] times the transpose of w [out][in], summed in float32. */
typedef struct {
  int dtype, rows, in, out;
  const void *x, *w;
  void* y;
} Lfm2CudaGemm;

/* One layer's KV blocks. tables [rows][table_width]: the blocks of each row's sequence, in order.
 */
typedef struct {
  void *keys, *values;
  const int32_t* tables;
  int table_width;
} Lfm2CudaKv;

/* qkv [rows][heads + 2 kv_heads][head_dim]: q and k are normalised over head_dim if norms are
 * given, then rotated by position * frequencies [head_dim / 2] (rotate-half). q is written back in
 * place, k and v into the blocks at the row's position. */
typedef struct {
  int dtype, rows, heads, kv_heads, head_dim;
  float eps;
  const void *q_norm, *k_norm; /* [head_dim] or null */
  const float* frequencies;
  const int32_t* positions; /* [rows] */
  void* qkv;
  Lfm2CudaKv kv;
} Lfm2CudaRope;

/* One query per row over its first position + 1 keys. q [rows][q_stride] with heads first. The keys
 * are cut into parts, whose results are in scratch: mixed [rows][heads][parts][head_dim], largest
 * and sum [rows][heads][parts]; parts * kLfm2CudaPartTokens is at least the keys of any row. out
 * [rows][heads][head_dim]. A row's result depends neither on `rows` nor on `parts`. */
typedef struct {
  int dtype, rows, heads, kv_heads, head_dim, q_stride, parts;
  float scale;
  const void* q;
  const int32_t* positions;
  Lfm2CudaKv kv;
  float *mixed, *largest, *sum;
  void* out;
} Lfm2CudaAttend;

/* Copies k and v [tokens][kv_heads][head_dim] of one sequence, from token `first` on, into its
 * blocks (kv.tables has one row) or out of them. */
typedef struct {
  int dtype, tokens, first, kv_heads, head_dim;
  void *k, *v;
  Lfm2CudaKv kv;
} Lfm2CudaKvCopy;

/* bcx [rows][3 width]: B, C, x. v = B * x; out = C * (bias + sum of the taps over the state's v and
 * this one); the state advances by one. weight [width][taps], bias [width] or null. State of slot
 * s: [taps - 1][width] at states + s * slot_stride elements, oldest first. */
typedef struct {
  int dtype, rows, width, taps;
  int64_t slot_stride;
  const void *bcx, *weight, *bias;
  const int32_t* slots;
  void* states;
  void* out;
} Lfm2CudaConv;

/* uz [rows][2 width]: u, z. s = decay * s + input * u; out = (sum_n output_n s_n + skip u) silu(z).
 * decay, input and output [n][width], skip [width], all float32. State of slot s: [n][width]
 * float32 at states + s * slot_stride elements. */
typedef struct {
  int dtype, rows, width, n;
  int64_t slot_stride;
  const void* uz;
  const float *decay, *input, *output, *skip;
  const int32_t* slots;
  float* states;
  void* out;
} Lfm2CudaSsm;

/* As in model/sampling/sampler.h. */
typedef struct {
  double temperature, top_p, min_p, repetition_penalty;
  int64_t top_k, index;
  uint64_t seed;
  int32_t sample;      /* 0: this row gets no token */
  int32_t use_seen;    /* the penalty uses the row's seen words */
  int32_t use_allowed; /* the row's allowed words restrict the choice */
  int32_t unused;
} Lfm2CudaSampling;

typedef struct {
  int32_t id;     /* -1 if no token was requested */
  int32_t finite; /* 0: a logit is not finite */
} Lfm2CudaChoice;

/* logits [rows][vocab]; params and choices [rows]; seen and allowed [rows][words], words =
 * ceil(vocab / 32), bit i of word i / 32. */
typedef struct {
  int dtype, rows, vocab, words;
  const void* logits;
  const Lfm2CudaSampling* params;
  const uint32_t *seen, *allowed;
  Lfm2CudaChoice* choices;
} Lfm2CudaSample;

typedef struct {
  int32_t abi; /* LFM2_CUDA_ABI */

  int (*open)(int device, Lfm2CudaContext** context);
  void (*close)(Lfm2CudaContext*);
  const char* (*error_text)(int code); /* never freed */
  int (*allocate)(Lfm2CudaContext*, int64_t bytes, int on_host, void** memory);
  void (*release)(Lfm2CudaContext*, int on_host, void* memory);
  /* The host memory must come from allocate(on_host) and stay valid until a wait. */
  int (*to_device)(Lfm2CudaContext*, void* to, const void* from_host, int64_t bytes);
  int (*to_host)(Lfm2CudaContext*, void* to_host, const void* from, int64_t bytes);
  int (*wait)(Lfm2CudaContext*);

  /* Between the two calls, kernels and gemm are recorded instead of run. After an error of one of
   * them, end_capture must still be called, and returns no graph. */
  int (*begin_capture)(Lfm2CudaContext*);
  int (*end_capture)(Lfm2CudaContext*, Lfm2CudaGraph** graph);
  int (*replay)(Lfm2CudaContext*, Lfm2CudaGraph* graph);
  void (*drop)(Lfm2CudaContext*, Lfm2CudaGraph* graph);

  int (*gemm)(Lfm2CudaContext*, const Lfm2CudaGemm*);
  int (*embed)(Lfm2CudaContext*, const Lfm2CudaEmbed*);
  int (*norm)(Lfm2CudaContext*, const Lfm2CudaNorm*);
  int (*bias)(Lfm2CudaContext*, const Lfm2CudaBias*);
  int (*silu_mul)(Lfm2CudaContext*, const Lfm2CudaSiluMul*);
  int (*rope)(Lfm2CudaContext*, const Lfm2CudaRope*);
  int (*attend)(Lfm2CudaContext*, const Lfm2CudaAttend*);
  int (*kv_store)(Lfm2CudaContext*, const Lfm2CudaKvCopy*);
  int (*kv_load)(Lfm2CudaContext*, const Lfm2CudaKvCopy*);
  int (*conv)(Lfm2CudaContext*, const Lfm2CudaConv*);
  int (*ssm)(Lfm2CudaContext*, const Lfm2CudaSsm*);
  int (*sample)(Lfm2CudaContext*, const Lfm2CudaSample*);
} Lfm2CudaFunctions;

/* The table of this ABI, which is never freed; null for another `abi`. Needs no GPU. */
const Lfm2CudaFunctions* lfm2_cuda_functions(int32_t abi);

#ifdef __cplusplus
}
#endif
