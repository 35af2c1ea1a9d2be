#include "server/torch/torch_runner.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include <algorithm>
#include <new>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "model/arch/model_folder.h"
#include "model/torch/cuda_decoder.h"
#include "model/torch/decoder.h"
#include "model/torch/device.h"
#include "model/torch/parity.h"
#include "model/torch/torch_failure.h"
#include "model/torch/weights.h"
#include "server/engine/model_tokenizer.h"
#include "server/engine/row_check.h"

namespace lfm2 {
namespace {

absl::Status OutOfMemoryError(at::Device device) {
  return device.is_cuda() ? Error(Reason::kGpuOutOfMemory, "the GPU has no memory for this request")
                          : Error(Reason::kOutOfMemory, "there is no memory for this request");
}

absl::Status InternalError() {
  return Error(Reason::kInternal, "the model failed while it ran; the log has the detail");
}

// LibTorch's message is only logged, because it may contain file names of this machine.
absl::Status StatusOfFailure(at::Device device, const std::string& detail) {
  const Reason reason = ReasonOfTorchFailure(detail, device.is_cuda());
  if (reason == Reason::kOutOfMemory || reason == Reason::kGpuOutOfMemory) {
    return OutOfMemoryError(device);
  }
  Log(LogLevel::kError, "model failed", {{"device", device.str()}, {"detail", detail}});
  if (reason == Reason::kGpuFault) return Error(reason, "the GPU reported a fault");
  return InternalError();
}

template <typename Work>
absl::Status Caught(at::Device device, Work&& work) {
  try {
    return work();
  } catch (const c10::OutOfMemoryError&) {
    return OutOfMemoryError(device);
  } catch (const std::bad_alloc&) {
    return OutOfMemoryError(device);
  } catch (const c10::Error& error) {
    return StatusOfFailure(device, error.what_without_backtrace());
  } catch (const std::exception& error) {
    return StatusOfFailure(device, error.what());
  }
}

// After some faults all later GPU calls of the process fail; others affect only one call.
absl::Status ConfirmGpuFault(at::Device device, absl::Status fault) {
  const absl::Status now = Caught(device, [&] {
    const c10::InferenceMode inference;
    (void)at::ones({1}, device).item<float>();
    return absl::OkStatus();
  });
  if (DetailsOf(now).reason == Reason::kGpuFault) return fault;
  Log(LogLevel::kError, "a GPU call failed; the GPU still responds",
      {{"device", device.str()}, {"detail", std::string(fault.message())}});
  return InternalError();
}

// Converts exceptions to Status. kGpuFault: the process must be restarted.
template <typename Work>
absl::Status Guarded(at::Device device, Work&& work) {
  absl::Status status = Caught(device, work);
  if (status.ok() || !device.is_cuda() || DetailsOf(status).reason != Reason::kGpuFault) {
    return status;
  }
  return ConfirmGpuFault(device, std::move(status));
}

class TorchState : public RunnerState {
 public:
  explicit TorchState(std::unique_ptr<SequenceState> state) : sequence(std::move(state)) {}
  std::unique_ptr<SequenceState> sequence;
};

class TorchProbePass : public ProbePass {
 public:
  explicit TorchProbePass(std::unique_ptr<ParityPass> pass) : pass_(std::move(pass)) {}
  absl::Status Advance(std::span<const int32_t> tokens, ReportBuilder& report) override {
    return pass_->Advance(tokens, report);
  }

 private:
  const std::unique_ptr<ParityPass> pass_;
};

class TorchRunner : public ModelRunner {
 public:
  explicit TorchRunner(Decoder decoder) : decoder_(std::move(decoder)) {}
  explicit TorchRunner(std::unique_ptr<CudaDecoder> cuda)
      : cuda_(std::move(cuda)), decoder_(cuda_->decoder()) {}

  absl::StatusOr<NewState> Start(const StateRequest& request) override;
  std::vector<StepOutput> Step(std::span<const StepItem> items) override;
  absl::StatusOr<std::vector<float>> ScoreChunk(RunnerState& state,
                                                std::span<const int32_t> tokens) override;
  absl::StatusOr<std::unique_ptr<ProbePass>> StartProbe() override;
  BlockUsage blocks() const override {
    if (cuda_ == nullptr) return {};
    return {cuda_->blocks_in_use(), 0, cuda_->blocks()};
  }
  int64_t StateMemory(int64_t tokens) const override {
    return cuda_ == nullptr ? 0 : cuda_->BlocksOf(tokens);
  }
  int64_t state_memory_limit() const override {
    return cuda_ == nullptr ? ModelRunner::state_memory_limit() : cuda_->blocks();
  }

 private:
  at::Device device() const { return decoder_.weights().device(); }
  absl::Status Admit(RunnerState& state, std::span<const int32_t> tokens);
  at::Tensor ToDevice(const std::vector<int64_t>& values) const;
  absl::Status RunSingles(std::span<const StepItem> items, const std::vector<size_t>& batch,
                          std::vector<StepOutput>& outputs) const;
  void RunBatch(std::span<const StepItem> items, const std::vector<size_t>& batch,
                std::vector<StepOutput>& outputs) const;
  absl::Status ScoreInto(std::span<const int32_t> tokens, SequenceState& state,
                         std::vector<float>& scores) const;

  const std::unique_ptr<CudaDecoder> cuda_;  // null: LibTorch runs every row
  const Decoder decoder_;
};

absl::StatusOr<NewState> TorchRunner::Start(const StateRequest& request) {
  NewState fresh;
  fresh.reuse.miss = request.use_cache ? PrefixMiss::kUnsupported : PrefixMiss::kDisabled;
  LFM2_RETURN_IF_ERROR(Guarded(device(), [&] {
    const c10::InferenceMode inference;
    std::unique_ptr<SequenceState> sequence;
    if (cuda_ == nullptr) {
      sequence = decoder_.NewState();
    } else {
      LFM2_ASSIGN_OR_RETURN(sequence, cuda_->NewState());
    }
    fresh.state = std::make_unique<TorchState>(std::move(sequence));
    return absl::OkStatus();
  }));
  return fresh;
}

// Checks before a pass for errors that affect only one request.
absl::Status TorchRunner::Admit(RunnerState& state, std::span<const int32_t> tokens) {
  LFM2_RETURN_IF_ERROR(CheckTokens(tokens, decoder_.config().vocab_size));
  if (cuda_ == nullptr) return absl::OkStatus();
  return cuda_->Reserve(*static_cast<TorchState&>(state).sequence,
                        static_cast<int64_t>(tokens.size()));
}

at::Tensor TorchRunner::ToDevice(const std::vector<int64_t>& values) const {
  return torch::tensor(values, at::kLong).to(device());
}

// If the pass throws, the states of all its sequences are partly advanced, so all get kBatch.
// Errors that only one request can cause are found before the pass (token ids) or after it
// (logits).
std::vector<StepOutput> TorchRunner::Step(std::span<const StepItem> items) {
  std::vector<StepOutput> outputs(items.size());
  std::vector<size_t> batch, singles;
  for (size_t i = 0; i < items.size(); ++i) {
    outputs[i].status = Admit(*items[i].state, items[i].tokens);
    if (!outputs[i].status.ok()) continue;
    (cuda_ != nullptr && items[i].tokens.size() == 1 ? singles : batch).push_back(i);
  }
  const auto run = [&](const std::vector<size_t>& part, auto&& pass) {
    if (part.empty()) return;
    const absl::Status status = Guarded(device(), [&] {
      const c10::InferenceMode inference;
      return pass();
    });
    if (status.ok()) return;
    for (const size_t i : part) outputs[i] = {status, std::nullopt, FaultScope::kBatch};
  };
  run(singles, [&] { return RunSingles(items, singles, outputs); });
  run(batch, [&] {
    RunBatch(items, batch, outputs);
    return absl::OkStatus();
  });
  return outputs;
}

absl::Status TorchRunner::RunSingles(std::span<const StepItem> items,
                                     const std::vector<size_t>& batch,
                                     std::vector<StepOutput>& outputs) const {
  std::vector<CudaItem> rows;
  for (const size_t i : batch) {
    const StepItem& item = items[i];
    rows.push_back({static_cast<TorchState*>(item.state)->sequence.get(), item.tokens[0],
                    item.sample ? item.sampling : nullptr, item.history, item.index, item.allowed});
  }
  LFM2_ASSIGN_OR_RETURN(const std::vector<CudaResult> results, cuda_->Step(rows));
  for (size_t row = 0; row < batch.size(); ++row) {
    StepOutput& output = outputs[batch[row]];
    if (!results[row].finite) {
      output.status = NotFiniteError(static_cast<int64_t>(items[batch[row]].history.size()) - 1);
    }
    output.sample = results[row].sample;
  }
  return absl::OkStatus();
}

void TorchRunner::RunBatch(std::span<const StepItem> items, const std::vector<size_t>& batch,
                           std::vector<StepOutput>& outputs) const {
  std::vector<int64_t> tokens;
  std::vector<int64_t> rows;    // rows of [T] that are sampled
  std::vector<size_t> sampled;  // their items
  ForwardBatch forward;
  for (const size_t i : batch) {
    const auto begin = static_cast<int64_t>(tokens.size());
    tokens.insert(tokens.end(), items[i].tokens.begin(), items[i].tokens.end());
    auto* state = static_cast<TorchState*>(items[i].state);
    forward.spans.push_back(
        {begin, static_cast<int64_t>(items[i].tokens.size()), state->sequence.get()});
    if (!items[i].sample) continue;
    rows.push_back(static_cast<int64_t>(tokens.size()) - 1);
    sampled.push_back(i);
  }
  forward.tokens = ToDevice(tokens);
  at::Tensor hidden = decoder_.Hidden(forward);
  if (rows.empty()) return;
  if (rows.size() != tokens.size()) hidden = hidden.index_select(0, ToDevice(rows));
  const at::Tensor logits = decoder_.Logits(hidden).to(at::kCPU, at::kFloat).contiguous();
  const float* data = logits.const_data_ptr<float>();
  const auto width = static_cast<size_t>(logits.size(1));
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
    for (auto row = static_cast<size_t>(begin); row < static_cast<size_t>(end); ++row) {
      const StepItem& item = items[sampled[row]];
      outputs[sampled[row]] = SampleRow({data + row * width, width}, item, item.history);
    }
  });
}

absl::StatusOr<std::vector<float>> TorchRunner::ScoreChunk(RunnerState& state,
                                                           std::span<const int32_t> tokens) {
  std::vector<float> scores;
  LFM2_RETURN_IF_ERROR(CheckTokens(tokens.last(1), decoder_.config().vocab_size));
  LFM2_RETURN_IF_ERROR(Admit(state, tokens.first(tokens.size() - 1)));
  LFM2_RETURN_IF_ERROR(Guarded(device(), [&] {
    return ScoreInto(tokens, *static_cast<TorchState&>(state).sequence, scores);
  }));
  return scores;
}

absl::Status TorchRunner::ScoreInto(std::span<const int32_t> tokens, SequenceState& state,
                                    std::vector<float>& scores) const {
  const c10::InferenceMode inference;
  const std::vector<int64_t> inputs(tokens.begin(), tokens.end() - 1);
  const std::vector<int64_t> targets(tokens.begin() + 1, tokens.end());
  const at::Tensor hidden =
      decoder_.Hidden({ToDevice(inputs), {{0, static_cast<int64_t>(inputs.size()), &state}}});
  const at::Tensor logits = decoder_.Logits(hidden).to(at::kFloat);
  const at::Tensor chosen = logits.gather(1, ToDevice(targets).unsqueeze(1)).squeeze(1);
  const at::Tensor result = (chosen - logits.logsumexp(1)).to(at::kCPU).contiguous();
  const std::span<const float> values(result.const_data_ptr<float>(), inputs.size());
  for (const float value : values) {
    if (!AllFinite({&value, 1})) return NotFiniteError(static_cast<int64_t>(scores.size()));
    scores.push_back(value);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ProbePass>> TorchRunner::StartProbe() {
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<ParityPass> pass, ParityPass::Start(decoder_));
  return std::make_unique<TorchProbePass>(std::move(pass));
}

DType StoredDType(const TensorArchive& archive) {
  const TensorView* embedding = archive.Find(kEmbeddingWeight);
  if (embedding != nullptr) return embedding->dtype;
  return archive.tensors.empty() ? DType::kF32 : archive.tensors.front().dtype;
}

void LogPlainDecoding(const absl::Status& reason) {
  Log(LogLevel::kWarning, "decoding only with LibTorch's operators",
      {{"reason", std::string(reason.message())}});
}

// The kernels for decoding on this device; null: LibTorch's kernels.
const Lfm2CudaFunctions* KernelsFor(at::Device device, const TorchOptions& options) {
  if (options.kernels != nullptr || !device.is_cuda()) return options.kernels;
  const absl::StatusOr<const Lfm2CudaFunctions*> library = OpenCudaLibrary();
  if (library.ok()) return *library;
  LogPlainDecoding(library.status());
  return nullptr;
}

// Null if the kernels do not support this GPU or this model.
absl::StatusOr<std::unique_ptr<CudaDecoder>> MakeCudaDecoder(
    const ModelConfig& config, const std::shared_ptr<Weights>& weights,
    const TorchOptions& torch_options) {
  const at::Device device = weights->device();
  const Lfm2CudaFunctions* kernels = KernelsFor(device, torch_options);
  if (kernels == nullptr) return nullptr;
  CudaDecoderOptions options;
  options.device = device.has_index() ? device.index() : 0;
  options.kv_bytes = torch_options.kv_bytes;
  auto decoder = CudaDecoder::Make(*kernels, config, weights, options);
  if (decoder.ok()) return decoder;
  const Reason reason = DetailsOf(decoder.status()).reason;
  if (reason != Reason::kGpuFault && reason != Reason::kUnsupported) return decoder;
  LogPlainDecoding(decoder.status());
  return nullptr;
}

absl::StatusOr<std::shared_ptr<LoadedModel>> Load(const ModelVersion& version, at::Device device,
                                                  const TorchOptions& options) {
  LFM2_ASSIGN_OR_RETURN(ModelFolder folder, OpenModelFolder(version.directory));
  if (!folder.config.has_value()) {
    return Error(Reason::kConfigInvalid, "model \"" + version.name + "\" has no config.json");
  }
  const ModelConfig& config = *folder.config;
  LFM2_RETURN_IF_ERROR(CheckWeights(config, folder.weights));
  auto loaded = std::make_shared<LoadedModel>();
  LFM2_ASSIGN_OR_RETURN(loaded->tokenizer,
                        TokenizerForModel(folder.tokenizer_dir, config.vocab_size));
  LFM2_ASSIGN_OR_RETURN(const at::ScalarType dtype,
                        ChooseDtype(options.dtype, device, StoredDType(folder.weights)));
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<Weights> weights,
                        Weights::FromArchive(config, folder.weights, device, dtype));
  loaded->name = version.name;
  loaded->version = version.version;
  loaded->config = config;
  loaded->dtype = dtype == at::kBFloat16 ? "bfloat16" : "float32";
  loaded->device = device.str();
  loaded->kv_dtype = loaded->dtype;
  loaded->bytes = weights->bytes();
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<CudaDecoder> cuda,
                        MakeCudaDecoder(config, weights, options));
  if (cuda != nullptr) {
    loaded->isa = "cuda";
    loaded->runner = std::make_unique<TorchRunner>(std::move(cuda));
  } else {
    loaded->runner = std::make_unique<TorchRunner>(Decoder(config, weights));
  }
  return loaded;
}

}  // namespace

absl::StatusOr<std::string> ResolveDevice(const std::string& name) {
  absl::Status why_cpu;
  LFM2_ASSIGN_OR_RETURN(const at::Device device, OpenDevice(name, &why_cpu));
  if (!why_cpu.ok()) {
    Log(LogLevel::kWarning, "serving on the CPU although there is an NVIDIA driver",
        {{"reason", std::string(why_cpu.message())}});
  }
  return device.str();
}

absl::StatusOr<ModelLoader> MakeTorchModelLoader(const TorchOptions& options) {
  LFM2_ASSIGN_OR_RETURN(const at::Device device, OpenDevice(options.device));
  const auto cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  at::set_num_threads(options.threads > 0 ? options.threads : cores);
  return ModelLoader([device, options](const ModelVersion& version) {
    absl::StatusOr<std::shared_ptr<LoadedModel>> loaded = std::shared_ptr<LoadedModel>();
    const absl::Status status = Guarded(device, [&] {
      loaded = Load(version, device, options);
      return loaded.status();
    });
    if (!status.ok()) loaded = status;
    return loaded;
  });
}

}  // namespace lfm2
