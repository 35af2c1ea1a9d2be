// Converts v1's messages about jobs to plain data and back, for requests, the job store and the
// workers. ToProto sets every field of its struct. FromProto returns nullopt for an unknown
// enumeration number. Thread rule: pure functions. No gRPC.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "lfm2/v1/common.pb.h"
#include "lfm2/v1/models.pb.h"
#include "lfm2/v1/training.pb.h"
#include "server/jobs/wire/job.h"

namespace lfm2 {

v1::JobKind ToProto(JobKind kind);
std::optional<JobKind> FromProto(v1::JobKind kind);

v1::JobState ToProto(JobState state);
std::optional<JobState> FromProto(v1::JobState state);

v1::ExportFormat ToProto(ExportFormat format);
std::optional<ExportFormat> FromProto(v1::ExportFormat format);

v1::TensorReport::Fate ToProto(TensorFate fate);
std::optional<TensorFate> FromProto(v1::TensorReport::Fate fate);

v1::StepMetrics ToProto(const StepMetrics& metrics);
StepMetrics FromProto(const v1::StepMetrics& metrics);

v1::EvalMetrics ToProto(const EvalMetrics& metrics);
EvalMetrics FromProto(const v1::EvalMetrics& metrics);

v1::CheckpointSaved ToProto(const CheckpointInfo& checkpoint);
CheckpointInfo FromProto(const v1::CheckpointSaved& checkpoint);

v1::Progress ToProto(const Progress& progress);
Progress FromProto(const v1::Progress& progress);

v1::ExportedFile ToProto(const ExportedFile& file);
ExportedFile FromProto(const v1::ExportedFile& file);

v1::NamedDataset ToProto(const NamedFile& file);
NamedFile FromProto(const v1::NamedDataset& file);

// Called for each invalid field with its name and the fault. Does not check ranges.
using FieldFault = absl::FunctionRef<void(std::string_view field, const std::string& fault)>;

// Unset fields do not change `out`.
v1::ModelShape ToProto(const ModelShape& shape);
void FromProto(const v1::ModelShape& shape, ModelShape& out, FieldFault fault);

v1::TrainOptions ToProto(const TrainSpec& spec);
void FromProto(const v1::TrainOptions& options, TrainSpec& out, FieldFault fault);

}  // namespace lfm2
