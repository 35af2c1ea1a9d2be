// Every error that leaves the program: one table of reasons, and how a reason travels on an
// absl::Status.
//
// A Status made here carries a payload that server/rpc turns into google.rpc details (ErrorInfo,
// BadRequest, RetryInfo, ResourceInfo, PreconditionFailure). docs/errors.md is made from the same
// table (`lfm2ctl errors`). Thread rule: all functions are pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace lfm2 {

// Kept in the order of the table in errors.cc; a test compares the two.
enum class Reason {
  kInvalidArgument,
  kInvalidUtf8,
  kPromptTooLong,
  kPromptEmpty,
  kContextExceeded,
  kUnknownTemplate,
  kGrammarInvalid,
  kGrammarTooSlow,
  kGrammarDeadEnd,
  kModelFileInvalid,
  kWeightsMismatch,
  kConfigInvalid,
  kTokenizerInvalid,
  kTokenizerMismatch,
  kDatasetInvalid,
  kDatasetHashMismatch,
  kNoSupervisedTokens,
  kFlagContradictsModel,
  kPathOutsideRoot,
  kModelNotFound,
  kJobNotFound,
  kDatasetNotFound,
  kFileNotFound,
  kModelExists,
  kRequestIdReused,
  kWrongState,
  kUnsupported,
  kInsufficientDisk,
  kDiskFull,
  kQueueFull,
  kTooManyRequests,
  kOutOfMemory,
  kMessageTooLarge,
  kSlowReader,
  kDeadlineInQueue,
  kDeadlineInDecode,
  kCancelled,
  kDraining,
  kModelLoading,
  kJobStoreCorrupt,
  kStorageIoError,
  kCheckpointCorrupt,
  kCheckpointDiskFull,
  kExportMismatch,
  kWorkerCrashed,
  kWorkerHung,
  kJobCrashLoop,
  kTrainingDiverged,
  kGpuFault,
  kGpuOutOfMemory,
  kDeviceUnavailable,
  kCredentialMissing,
  kCredentialInvalid,
  kScopeRequired,
  kInsecureBind,
  kInternal,
};

struct ReasonSpec {
  Reason reason;
  const char* name;  // UPPER_SNAKE, at most 63 characters (AIP-193)
  absl::StatusCode code;
  const char* meaning;
  const char* fix;
};

std::span<const ReasonSpec> AllReasons();
const ReasonSpec& SpecOf(Reason reason);
std::optional<Reason> ReasonByName(std::string_view name);

struct FieldViolation {
  std::string field;
  std::string description;
};

// What a Status carries besides its code and message.
struct ErrorDetails {
  Reason reason = Reason::kInternal;
  std::map<std::string, std::string> metadata;  // e.g. tokens, limit, tensor, expected, actual
  std::vector<FieldViolation> violations;       // becomes BadRequest
  std::optional<int64_t> retry_after_ms;        // becomes RetryInfo
  std::string resource_type;                    // becomes ResourceInfo: "model", "job", "dataset"
  std::string resource_name;
};

using Metadata = std::map<std::string, std::string>;

// A status with the reason's code from the table. The message says what is wrong, with the value
// and the limit; it must not contain a path on the server's disk.
absl::Status Error(Reason reason, std::string_view message, Metadata metadata = {});
absl::Status NotFound(Reason reason, std::string_view resource_type,
                      std::string_view resource_name);
absl::Status RetryLater(Reason reason, std::string_view message, int64_t retry_after_ms);
absl::Status WithDetails(std::string_view message, const ErrorDetails& details);

// Details of a Status made above. For any other Status: the first reason in the table with its
// code, or kInternal.
ErrorDetails DetailsOf(const absl::Status& status);

// The message lists the violations: "<field> <description>; …".
absl::Status WithViolations(const ErrorDetails& details);

// Same details, message prefixed with `context`: "<context>: <message>".
absl::Status Annotate(const absl::Status& status, std::string_view context);

// Converts a status to text for another process, and back.
std::string SerializeStatus(const absl::Status& status);
absl::Status ParseStatus(std::string_view text);

// Collects all violations of a request, so that one answer names them all.
class Violations {
 public:
  void Add(std::string_view field, std::string_view description);
  bool empty() const { return violations_.empty(); }
  // OK when empty; otherwise kInvalidArgument, or `reason` when given, with every violation.
  absl::Status ToStatus(Reason reason = Reason::kInvalidArgument) const;

 private:
  std::vector<FieldViolation> violations_;
};

}  // namespace lfm2
