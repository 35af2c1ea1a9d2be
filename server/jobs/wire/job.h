// A job as plain data: its spec, its state and its events. No protobuf, no LibTorch; codec.{h,cc}
// encodes it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "model/convert/conversion.h"
#include "model/export/export.h"
#include "model/train/spec/train_spec.h"

namespace lfm2 {

enum class JobKind { kTrain, kInit, kExport };
enum class JobState { kQueued, kRunning, kSucceeded, kFailed, kCancelled, kQuarantined };
bool IsTerminal(JobState state);
const char* JobStateName(JobState state);  // "QUEUED", …
const char* JobKindName(JobKind kind);     // "train", "init", "export"

struct NamedFile {
  std::string name;     // plain name
  std::string dataset;  // "sha256:<hex>"
};

// The source of weights or a tokenizer, resolved when the job was accepted, so versions do not
// change afterwards.
struct SourceSpec {
  enum class Kind { kNone, kFolder, kFiles, kBytes };
  Kind kind = Kind::kNone;
  std::string name;              // for display: "ckpt@v1", "hf:org/name@<commit>"
  std::string directory;         // kFolder
  std::vector<NamedFile> files;  // kFiles
};

struct JobSpec {
  JobKind kind = JobKind::kTrain;
  std::string model_name;  // of the model that the job makes or exports
  SourceSpec source;       // weights to start from, or to export
  SourceSpec tokenizer;
  ModelShape shape;
  bool partial = false;
  uint64_t seed = 0;  // for fresh tensors
  TrainSpec train;
  std::vector<NamedFile> datasets;
  ExportFormat export_format = ExportFormat::kNpz;
  std::map<std::string, std::string> labels;
};

struct StateChange {
  JobState state = JobState::kQueued;
  int64_t attempt = 1;
  absl::Status status;              // why it is FAILED or QUARANTINED, or was queued again
  std::string result_version;       // if SUCCEEDED
  std::vector<ExportedFile> files;  // of an export, if SUCCEEDED
};

struct Progress {
  int64_t done = 0, total = 0;
  std::string what;
};

struct Note {
  std::string text;
};

using JobEventBody = std::variant<StateChange, StepMetrics, EvalMetrics, CheckpointInfo, Note,
                                  Progress, ConversionReport>;

struct JobEvent {
  int64_t seq = 0;  // from 1, without gaps, also across restarts
  int64_t at_ms = 0;
  JobEventBody body;
};

struct Job {
  std::string id;
  std::string request_id;
  std::string principal;
  JobSpec spec;
  JobState state = JobState::kQueued;
  int64_t created_at_ms = 0, updated_at_ms = 0;
  int64_t attempt = 1;
  int64_t step = 0;
  double loss = 0, tokens_per_second = 0;
  std::string checkpoint;
  bool cancel_requested = false;
  absl::Status error;
  std::string result_version;
  std::vector<ExportedFile> files;  // of a finished export
  int64_t last_seq = 0;
};

}  // namespace lfm2
