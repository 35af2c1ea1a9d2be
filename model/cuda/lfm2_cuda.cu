// The library: contexts, memory, graphs and matrix products around the kernels of launches.h.
#include <memory>
#include <new>
#include <type_traits>

#include "model/cuda/cublas_abi.h"
#include "model/cuda/launches.h"
#include "model/cuda/lfm2_cuda.h"

using lfm2::cuda::Cublas;

namespace {

constexpr size_t kWorkspaceBytes = size_t{32} << 20;  // what cuBLAS advises for sm_90
constexpr int kCublasError = 100'000;                 // our codes: this plus cuBLAS's code
constexpr int kNoCublas = kCublasError - 1;

}  // namespace

struct Lfm2CudaContext {
  int device = 0;
  cudaStream_t stream = nullptr;   // synchronises with the legacy default stream, both ways
  cudaStream_t capture = nullptr;  // does not synchronise, so recording disturbs no other thread
  bool recording = false;
  Cublas blas;
  Cublas::Handle handle = nullptr;
  void* workspace = nullptr;
};

struct Lfm2CudaGraph {
  cudaGraphExec_t exec = nullptr;
};

namespace lfm2::cuda {

// The current device is set per thread, and the next user of the context may be another thread.
cudaStream_t StreamOf(Lfm2CudaContext* context) {
  cudaSetDevice(context->device);
  return context->recording ? context->capture : context->stream;
}

}  // namespace lfm2::cuda

namespace {

using lfm2::cuda::StreamOf;

// Clears the error, so that the next check, which may be LibTorch's, does not see it again.
int Checked(cudaError_t code) {
  if (code != cudaSuccess) cudaGetLastError();
  return code;
}

int CublasCode(int status) {
  if (status == 0) return 0;
  cudaGetLastError();
  return status == Cublas::kAllocFailed ? kLfm2CudaOutOfMemory : kCublasError + status;
}

// Setting a stream resets the workspace.
int UseStream(Lfm2CudaContext* context) {
  const Cublas& blas = context->blas;
  int status = blas.set_stream(context->handle, StreamOf(context));
  if (status == 0) {
    status = blas.set_workspace(context->handle, context->workspace, kWorkspaceBytes);
  }
  return CublasCode(status);
}

void Close(Lfm2CudaContext* context) {
  if (context == nullptr) return;
  cudaSetDevice(context->device);
  if (context->stream != nullptr) cudaStreamSynchronize(context->stream);
  if (context->handle != nullptr) context->blas.destroy(context->handle);
  cudaFree(context->workspace);
  if (context->capture != nullptr) cudaStreamDestroy(context->capture);
  if (context->stream != nullptr) cudaStreamDestroy(context->stream);
  delete context;
}

int Fill(Lfm2CudaContext& context) {
  cudaFuncAttributes attributes;
  cudaError_t code = cudaSetDevice(context.device);
  // Fails early when the library has no code for this GPU.
  if (code == cudaSuccess) {
    code = cudaFuncGetAttributes(&attributes, lfm2::cuda::Kernel<lfm2::cuda::NormBody<float>>);
  }
  if (code == cudaSuccess) code = cudaStreamCreate(&context.stream);
  if (code == cudaSuccess) {
    code = cudaStreamCreateWithFlags(&context.capture, cudaStreamNonBlocking);
  }
  if (code == cudaSuccess) code = cudaMalloc(&context.workspace, kWorkspaceBytes);
  if (code != cudaSuccess) return Checked(code);
  if (!context.blas.Open()) return kNoCublas;
  if (const int status = context.blas.create(&context.handle)) {
    context.handle = nullptr;
    return CublasCode(status);
  }
  return UseStream(&context);
}

int Open(int device, Lfm2CudaContext** out) {
  *out = nullptr;
  auto* context = new (std::nothrow) Lfm2CudaContext();
  if (context == nullptr) return kLfm2CudaOutOfMemory;
  context->device = device;
  const int code = Fill(*context);
  if (code != 0) {
    Close(context);
    cudaGetLastError();  // closing a partly opened context may fail too
    return code;
  }
  *out = context;
  return 0;
}

const char* CublasText(int status) {
  switch (status) {
    case 1:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case 7:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case 8:
      return "CUBLAS_STATUS_ARCH_MISMATCH";
    case 11:
      return "CUBLAS_STATUS_MAPPING_ERROR";
    case 13:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    case 14:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
    case 15:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
      return "cuBLAS reported an error";
  }
}

const char* ErrorText(int code) {
  if (code == kNoCublas) return "libcublas.so cannot be opened";
  if (code >= kCublasError) return CublasText(code - kCublasError);
  return cudaGetErrorString(static_cast<cudaError_t>(code));
}

int Allocate(Lfm2CudaContext* context, int64_t bytes, int on_host, void** memory) {
  StreamOf(context);
  *memory = nullptr;
  const auto size = static_cast<size_t>(bytes);
  return Checked(on_host != 0 ? cudaMallocHost(memory, size) : cudaMalloc(memory, size));
}

void Release(Lfm2CudaContext* context, int on_host, void* memory) {
  StreamOf(context);
  if (on_host != 0) {
    cudaFreeHost(memory);
  } else {
    cudaFree(memory);
  }
}

int ToDevice(Lfm2CudaContext* context, void* to, const void* from, int64_t bytes) {
  return Checked(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                                 StreamOf(context)));
}

int ToHost(Lfm2CudaContext* context, void* to, const void* from, int64_t bytes) {
  return Checked(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost,
                                 StreamOf(context)));
}

int Wait(Lfm2CudaContext* context) { return Checked(cudaStreamSynchronize(StreamOf(context))); }

int BeginCapture(Lfm2CudaContext* context) {
  context->recording = true;
  int code = UseStream(context);
  if (code == 0) {
    code = Checked(cudaStreamBeginCapture(context->capture, cudaStreamCaptureModeThreadLocal));
  }
  if (code == 0) return 0;
  context->recording = false;
  UseStream(context);
  return code;
}

int EndCapture(Lfm2CudaContext* context, Lfm2CudaGraph** out) {
  *out = nullptr;
  cudaGraph_t graph = nullptr;
  int code = Checked(cudaStreamEndCapture(context->capture, &graph));
  context->recording = false;
  const int back = UseStream(context);
  if (code == 0) code = back;
  auto made = std::unique_ptr<Lfm2CudaGraph>(new (std::nothrow) Lfm2CudaGraph());
  if (code == 0 && made == nullptr) code = kLfm2CudaOutOfMemory;
  if (code == 0) code = Checked(cudaGraphInstantiate(&made->exec, graph, 0));
  if (graph != nullptr) cudaGraphDestroy(graph);
  if (code != 0) return code;
  *out = made.release();
  return 0;
}

int Replay(Lfm2CudaContext* context, Lfm2CudaGraph* graph) {
  return Checked(cudaGraphLaunch(graph->exec, StreamOf(context)));
}

void Drop(Lfm2CudaContext* context, Lfm2CudaGraph* graph) {
  if (graph == nullptr) return;
  StreamOf(context);
  cudaGraphExecDestroy(graph->exec);
  delete graph;
}

// cuBLAS is column-major: y's transpose is w times x's transpose.
int Gemm(Lfm2CudaContext* context, const Lfm2CudaGemm* args) {
  cudaSetDevice(context->device);
  const float one = 1.0F, zero = 0.0F;
  const int type = args->dtype == kLfm2CudaBf16 ? Cublas::kBf16 : Cublas::kF32;
  return CublasCode(context->blas.gemm(context->handle, Cublas::kTransposed, Cublas::kAsIs,
                                       args->out, args->rows, args->in, &one, args->w, type,
                                       args->in, args->x, type, args->in, &zero, args->y, type,
                                       args->out, Cublas::kComputeF32, Cublas::kDefaultAlgorithm));
}

Lfm2CudaFunctions MakeTable() {
  Lfm2CudaFunctions out = lfm2::cuda::Kernels();
  out.open = Open;
  out.close = Close;
  out.error_text = ErrorText;
  out.allocate = Allocate;
  out.release = Release;
  out.to_device = ToDevice;
  out.to_host = ToHost;
  out.wait = Wait;
  out.begin_capture = BeginCapture;
  out.end_capture = EndCapture;
  out.replay = Replay;
  out.drop = Drop;
  out.gemm = Gemm;
  return out;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const Lfm2CudaFunctions* lfm2_cuda_functions(
    int32_t abi) {
  static const Lfm2CudaFunctions table = MakeTable();
  return abi == LFM2_CUDA_ABI ? &table : nullptr;
}
