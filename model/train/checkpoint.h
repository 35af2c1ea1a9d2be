// Checkpoints of a training run: directories "ckpt-<step>-<fencing token>" in the job's folder.
//
//   config.json, model.safetensors   the weights as a model folder, float32
//   optimizer.safetensors            of AdamW its moments, "exp_avg.<name>" and "exp_avg_sq.<name>"
//   state.json                       step, data cursor, last losses, hash of the spec
//   manifest.json                    name, bytes and SHA-256 of each file above; written last
//
// A checkpoint is written aside, every file is fsynced, then it is renamed and the parent fsynced.
// So a crash leaves a ".tmp-" directory or a complete checkpoint. Readers trust only files that
// match the manifest. Thread rule: one thread per job folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "model/arch/config.h"
#include "model/formats/tensor_archive.h"
#include "model/train/gradients.h"
#include "model/train/packing.h"

namespace lfm2 {

struct CheckpointState {
  int64_t step = 0;  // steps done
  Cursor cursor;     // with the spec's seed, all of the run's random state
  double loss = 0;   // of the last step
  double loss_ema = 0;
  std::string run_hash;  // of everything that decides the run's numbers
};

struct CheckpointName {
  int64_t step = 0;
  int64_t fencing_token = 0;
  std::string ToString() const;
};

struct CheckpointContent {
  const ModelConfig& config;
  const NamedTensors& parameters;  // float32
  const NamedTensors& optimizer_state;
  CheckpointState state;
};

// Newest first: by step, then by fencing token. Ignores other names in the folder.
std::vector<CheckpointName> ListCheckpoints(const std::filesystem::path& job_dir);

// Writes and publishes a checkpoint; calls `may_publish` directly before the rename.
// kCheckpointDiskFull, kStorageIoError; kWrongState if `may_publish` returns false. Never changes
// older checkpoints.
absl::Status WriteCheckpoint(const std::filesystem::path& job_dir, const CheckpointName& name,
                             const CheckpointContent& content,
                             const std::function<bool()>& may_publish);

struct LoadedCheckpoint {
  CheckpointName name;
  CheckpointState state;
  TensorArchive weights;
  TensorArchive optimizer_state;
};

// Reads a checkpoint and checks that every file has the manifest's size and hash and can be parsed.
// kCheckpointCorrupt naming the file.
absl::StatusOr<LoadedCheckpoint> ReadCheckpoint(const std::filesystem::path& job_dir,
                                                const CheckpointName& name);

// Returns the newest readable checkpoint. Reports each newer, torn one to `note` and removes it, so
// that it cannot be mistaken for a newer checkpoint than those that this run will write.
absl::StatusOr<std::optional<LoadedCheckpoint>> ReadNewestCheckpoint(
    const std::filesystem::path& job_dir, const std::function<void(const std::string&)>& note);

// Keeps `newest` and the keep - 1 newest other ones.
absl::Status RemoveOldCheckpoints(const std::filesystem::path& job_dir,
                                  const CheckpointName& newest, int64_t keep);

}  // namespace lfm2
