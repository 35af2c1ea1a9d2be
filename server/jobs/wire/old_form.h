// Converts specs and events from programs before the store's second schema to the form that codec.h
// reads. Their messages had the field numbers of today; but their enumerations began at 0, options
// that are 0 were left out, and three names were numbers. Thread rule: pure functions.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/jobs/wire/job.h"

namespace lfm2 {

// kInternal for bytes that are not such a message.
absl::StatusOr<JobSpec> DecodeOldJobSpec(std::string_view bytes);
absl::StatusOr<JobEvent> DecodeOldJobEvent(std::string_view bytes);

}  // namespace lfm2
