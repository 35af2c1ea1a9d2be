// Encodes jobs, events and messages as bytes and decodes them (proto/lfm2/internal/worker.proto,
// which only the .cc uses). Thread rule: pure functions. Equal values give equal bytes. Decoding
// checks every enumeration and returns kInternal for malformed bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jobs/wire/job.h"
#include "server/jobs/wire/worker_message.h"

namespace lfm2 {

std::string EncodeJobSpec(const JobSpec& spec);
absl::StatusOr<JobSpec> DecodeJobSpec(std::string_view bytes);

std::string EncodeJobEvent(const JobEvent& event);
absl::StatusOr<JobEvent> DecodeJobEvent(std::string_view bytes);

std::string EncodeFiles(const std::vector<ExportedFile>& files);
absl::StatusOr<std::vector<ExportedFile>> DecodeFiles(std::string_view bytes);

std::string EncodeToWorker(const ToWorker& message);
absl::StatusOr<ToWorker> DecodeToWorker(std::string_view bytes);

std::string EncodeFromWorker(const FromWorker& message);
absl::StatusOr<FromWorker> DecodeFromWorker(std::string_view bytes);

}  // namespace lfm2
