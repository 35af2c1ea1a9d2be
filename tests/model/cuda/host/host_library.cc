#include "tests/model/cuda/host/host_library.h"

#include <cstring>
#include <functional>
#include <map>
#include <vector>

#include "model/cuda/launches.h"

struct Lfm2CudaGraph {
  std::vector<std::function<int()>> calls;
};

struct Lfm2CudaContext {
  std::map<void*, int64_t> allocations;
  Lfm2CudaGraph* recording = nullptr;
};

namespace lfm2 {
namespace {

int Open(int device, Lfm2CudaContext** out) {
  *out = nullptr;
  if (HostCudaState().fail_open != 0) return HostCudaState().fail_open;
  if (device != 0) return 101;  // cudaErrorInvalidDevice
  *out = new Lfm2CudaContext();
  ++HostCudaState().contexts;
  return 0;
}

void Close(Lfm2CudaContext* context) {
  if (context == nullptr) return;
  --HostCudaState().contexts;
  delete context;
}

const char* ErrorText(int code) {
  return code == kLfm2CudaOutOfMemory ? "out of memory" : "something on the device";
}

int Allocate(Lfm2CudaContext* context, int64_t bytes, int, void** memory) {
  *memory = nullptr;
  HostCuda& state = HostCudaState();
  if (state.bytes + bytes > state.limit) return kLfm2CudaOutOfMemory;
  *memory = ::operator new (static_cast<size_t>(bytes), std::align_val_t{256});
  std::memset(*memory, 0xff, static_cast<size_t>(bytes));
  context->allocations[*memory] = bytes;
  state.bytes += bytes;
  return 0;
}

void Release(Lfm2CudaContext* context, int, void* memory) {
  if (memory == nullptr) return;
  HostCudaState().bytes -= context->allocations.at(memory);
  context->allocations.erase(memory);
  ::operator delete (memory, std::align_val_t{256});
}

int Copy(Lfm2CudaContext* context, void* to, const void* from, int64_t bytes) {
  if (context->recording != nullptr) return 900;  // cudaErrorStreamCaptureUnsupported
  std::memcpy(to, from, static_cast<size_t>(bytes));
  return 0;
}

int Wait(Lfm2CudaContext*) {
  ++HostCudaState().waits;
  return 0;
}

int BeginCapture(Lfm2CudaContext* context) {
  context->recording = new Lfm2CudaGraph();
  ++HostCudaState().graphs;
  return 0;
}

void Drop(Lfm2CudaContext*, Lfm2CudaGraph* graph) {
  if (graph != nullptr) --HostCudaState().graphs;
  delete graph;
}

int EndCapture(Lfm2CudaContext* context, Lfm2CudaGraph** graph) {
  *graph = context->recording;
  context->recording = nullptr;
  return 0;
}

int Replay(Lfm2CudaContext*, Lfm2CudaGraph* graph) {
  ++HostCudaState().replays;
  for (const auto& call : graph->calls) {
    if (const int code = call()) return code;
  }
  return 0;
}

template <typename T>
void Multiply(const Lfm2CudaGemm& args) {
  const auto *x = static_cast<const T*>(args.x), *w = static_cast<const T*>(args.w);
  auto* y = static_cast<T*>(args.y);
  for (int64_t row = 0; row < args.rows; ++row) {
    for (int64_t out = 0; out < args.out; ++out) {
      float sum = 0;
      for (int64_t in = 0; in < args.in; ++in) {
        sum += cuda::ToFloat(x[row * args.in + in]) * cuda::ToFloat(w[out * args.in + in]);
      }
      y[row * args.out + out] = cuda::FromFloat<T>(sum);
    }
  }
}

int Gemm(Lfm2CudaContext*, const Lfm2CudaGemm* args) {
  if (HostCudaState().fail_gemm != 0) return HostCudaState().fail_gemm;
  if (args->dtype == kLfm2CudaBf16) {
    Multiply<cuda::Bf16>(*args);
  } else {
    Multiply<float>(*args);
  }
  return 0;
}

// All that puts work on the stream: the kernels' own table, and our product.
const Lfm2CudaFunctions& Work() {
  static const Lfm2CudaFunctions work = [] {
    Lfm2CudaFunctions out = cuda::Kernels();
    out.gemm = Gemm;
    return out;
  }();
  return work;
}

// The call now, or into the recording.
template <auto kEntry, typename Args>
int Issue(Lfm2CudaContext* context, const Args* args) {
  const auto call = Work().*kEntry;
  if (context == nullptr || context->recording == nullptr) return call(context, args);
  context->recording->calls.emplace_back(
      [call, context, copy = *args] { return call(context, &copy); });
  return 0;
}

Lfm2CudaFunctions MakeTable() {
  Lfm2CudaFunctions out{};
  out.abi = LFM2_CUDA_ABI;
  out.open = Open;
  out.close = Close;
  out.error_text = ErrorText;
  out.allocate = Allocate;
  out.release = Release;
  out.to_device = Copy;
  out.to_host = Copy;
  out.wait = Wait;
  out.begin_capture = BeginCapture;
  out.end_capture = EndCapture;
  out.replay = Replay;
  out.drop = Drop;
  out.gemm = Issue<&Lfm2CudaFunctions::gemm>;
  out.embed = Issue<&Lfm2CudaFunctions::embed>;
  out.norm = Issue<&Lfm2CudaFunctions::norm>;
  out.bias = Issue<&Lfm2CudaFunctions::bias>;
  out.silu_mul = Issue<&Lfm2CudaFunctions::silu_mul>;
  out.rope = Issue<&Lfm2CudaFunctions::rope>;
  out.attend = Issue<&Lfm2CudaFunctions::attend>;
  out.kv_store = Issue<&Lfm2CudaFunctions::kv_store>;
  out.kv_load = Issue<&Lfm2CudaFunctions::kv_load>;
  out.conv = Issue<&Lfm2CudaFunctions::conv>;
  out.ssm = Issue<&Lfm2CudaFunctions::ssm>;
  out.sample = Issue<&Lfm2CudaFunctions::sample>;
  return out;
}

}  // namespace

const Lfm2CudaFunctions& HostCudaFunctions() {
  static const Lfm2CudaFunctions table = MakeTable();
  return table;
}

HostCuda& HostCudaState() {
  static HostCuda state;
  return state;
}

}  // namespace lfm2
