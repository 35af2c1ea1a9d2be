#include "base/errors.h"

#include <algorithm>

#include "absl/strings/cord.h"

namespace lfm2 {
namespace {

constexpr char kPayloadUrl[] = "lfm2.v1/ErrorDetails";
using Code = absl::StatusCode;

constexpr ReasonSpec kReasons[] = {
    {Reason::kInvalidArgument, "INVALID_ARGUMENT", Code::kInvalidArgument,
     "A field of the request is wrong.", "Correct the fields that the details name."},
    {Reason::kInvalidUtf8, "INVALID_UTF8", Code::kInvalidArgument, "Text is not valid UTF-8.",
     "Send valid UTF-8, or use the bytes field."},
    {Reason::kPromptTooLong, "PROMPT_TOO_LONG", Code::kInvalidArgument,
     "The prompt has more tokens or bytes than the limit.", "Shorten the prompt."},
    {Reason::kPromptEmpty, "PROMPT_EMPTY", Code::kInvalidArgument, "The prompt has no token.",
     "Send at least one token."},
    {Reason::kContextExceeded, "CONTEXT_EXCEEDED", Code::kInvalidArgument,
     "Prompt and max_new_tokens together exceed the context, or the memory for it.",
     "Ask for fewer new tokens."},
    {Reason::kUnknownTemplate, "UNKNOWN_TEMPLATE", Code::kInvalidArgument,
     "This program does not know the model's chat template.",
     "Send the rendered prompt as text or ids."},
    {Reason::kGrammarInvalid, "GRAMMAR_INVALID", Code::kInvalidArgument,
     "A JSON schema, regular expression or EBNF grammar is wrong or over a limit.",
     "Correct what the message names."},
    {Reason::kGrammarTooSlow, "GRAMMAR_TOO_SLOW", Code::kInvalidArgument,
     "A grammar took longer to compile than the limit, or more memory.",
     "Use a smaller grammar: fewer repetitions, fewer alternatives."},
    {Reason::kGrammarDeadEnd, "GRAMMAR_DEAD_END", Code::kFailedPrecondition,
     "The grammar allows no token of the model's vocabulary at this point.",
     "Use a grammar whose characters the model's tokenizer can produce."},
    {Reason::kModelFileInvalid, "MODEL_FILE_INVALID", Code::kInvalidArgument,
     "A weights file breaks a rule of its format.",
     "Create the file again; the details name file, offset and rule."},
    {Reason::kWeightsMismatch, "WEIGHTS_MISMATCH", Code::kInvalidArgument,
     "Tensors contradict the config.", "Use the config that belongs to the weights."},
    {Reason::kConfigInvalid, "CONFIG_INVALID", Code::kInvalidArgument,
     "A model's config.json is wrong or contradicts itself.",
     "Correct the key that the message names."},
    {Reason::kTokenizerInvalid, "TOKENIZER_INVALID", Code::kInvalidArgument,
     "A tokenizer file is wrong or of an unknown kind.",
     "Use a byte-level BPE tokenizer.json or a sentencepiece model."},
    {Reason::kTokenizerMismatch, "TOKENIZER_MISMATCH", Code::kInvalidArgument,
     "The tokenizer does not belong to the model.", "Use the model's own tokenizer."},
    {Reason::kDatasetInvalid, "DATASET_INVALID", Code::kInvalidArgument,
     "A dataset breaks a rule of its format.", "Correct the line that the message names."},
    {Reason::kDatasetHashMismatch, "DATASET_HASH_MISMATCH", Code::kInvalidArgument,
     "Uploaded bytes do not have the SHA-256 that was announced.", "Upload again."},
    {Reason::kNoSupervisedTokens, "NO_SUPERVISED_TOKENS", Code::kInvalidArgument,
     "The dataset has no tokens to train on.", "Use a dataset that is longer than one sequence."},
    {Reason::kFlagContradictsModel, "FLAG_CONTRADICTS_MODEL", Code::kInvalidArgument,
     "A flag has another value than the stored model.",
     "Leave the flag out, or give the model's value."},
    {Reason::kPathOutsideRoot, "PATH_OUTSIDE_ROOT", Code::kInvalidArgument,
     "A name is not a plain name, or leads outside the configured root.",
     "Send a name, not a path."},
    {Reason::kModelNotFound, "MODEL_NOT_FOUND", Code::kNotFound, "No model has this name.",
     "`lfm2ctl model list` shows the names."},
    {Reason::kJobNotFound, "JOB_NOT_FOUND", Code::kNotFound, "No job has this id.",
     "`lfm2ctl train list` shows the ids."},
    {Reason::kDatasetNotFound, "DATASET_NOT_FOUND", Code::kNotFound, "No dataset has this id.",
     "Upload it: `lfm2ctl dataset upload FILE`."},
    {Reason::kFileNotFound, "FILE_NOT_FOUND", Code::kNotFound, "A required file does not exist.",
     "Check the name."},
    {Reason::kModelExists, "MODEL_EXISTS", Code::kAlreadyExists, "A model has this name already.",
     "Choose another name."},
    {Reason::kRequestIdReused, "REQUEST_ID_REUSED", Code::kAlreadyExists,
     "The request_id was used for another request.", "Use a new request_id."},
    {Reason::kWrongState, "WRONG_STATE", Code::kFailedPrecondition,
     "The job or model is not in a state that allows the call.", "Check its state first."},
    {Reason::kUnsupported, "UNSUPPORTED", Code::kFailedPrecondition,
     "This model or build does not support the request.", "The message says what is supported."},
    {Reason::kInsufficientDisk, "INSUFFICIENT_DISK", Code::kFailedPrecondition,
     "The disk has less free space than the work needs.", "Free disk space in data_dir."},
    {Reason::kDiskFull, "DISK_FULL", Code::kResourceExhausted, "The disk is full.",
     "Free disk space in data_dir, then retry."},
    {Reason::kQueueFull, "QUEUE_FULL", Code::kResourceExhausted, "A queue is at its limit.",
     "Retry after the delay in RetryInfo."},
    {Reason::kTooManyRequests, "TOO_MANY_REQUESTS", Code::kResourceExhausted,
     "The caller has too many calls open.", "Retry after the delay in RetryInfo."},
    {Reason::kOutOfMemory, "OUT_OF_MEMORY", Code::kResourceExhausted,
     "There is not enough memory for this request.", "Ask for less, or retry later."},
    {Reason::kMessageTooLarge, "MESSAGE_TOO_LARGE", Code::kResourceExhausted,
     "A message is larger than the limit.", "Send it in parts."},
    {Reason::kSlowReader, "SLOW_READER", Code::kResourceExhausted,
     "The client read too slowly for too long.", "Read the stream as it arrives."},
    {Reason::kDeadlineInQueue, "DEADLINE_IN_QUEUE", Code::kDeadlineExceeded,
     "The deadline passed before the first step.", "Allow more time."},
    {Reason::kDeadlineInDecode, "DEADLINE_IN_DECODE", Code::kDeadlineExceeded,
     "The deadline passed during the work.", "Allow more time, or ask for less."},
    {Reason::kCancelled, "CANCELLED", Code::kCancelled, "The caller cancelled.", ""},
    {Reason::kDraining, "DRAINING", Code::kUnavailable, "The daemon is stopping.",
     "Use another server, or retry later."},
    {Reason::kModelLoading, "MODEL_LOADING", Code::kUnavailable, "The model is being loaded.",
     "Retry after the delay in RetryInfo."},
    {Reason::kJobStoreCorrupt, "JOB_STORE_CORRUPT", Code::kUnavailable,
     "The job store cannot be read; generation still works.",
     "Restore data_dir/jobs.sqlite3 from its backup."},
    {Reason::kStorageIoError, "STORAGE_IO_ERROR", Code::kDataLoss, "The disk reported an error.",
     "Check the disk."},
    {Reason::kCheckpointCorrupt, "CHECKPOINT_CORRUPT", Code::kDataLoss,
     "A checkpoint's hashes do not match.", "Resume from an older one."},
    {Reason::kCheckpointDiskFull, "CHECKPOINT_DISK_FULL", Code::kResourceExhausted,
     "The disk was full when a checkpoint was written; the previous one is intact.",
     "Free disk, then resume."},
    {Reason::kExportMismatch, "EXPORT_MISMATCH", Code::kDataLoss,
     "An export differs from the model when read back.", "Export again; check the disk."},
    {Reason::kWorkerCrashed, "WORKER_CRASHED", Code::kUnavailable, "A job's process died.",
     "The job is tried again from its last checkpoint."},
    {Reason::kWorkerHung, "WORKER_HUNG", Code::kUnavailable,
     "A job's process sent no heartbeat for too long.",
     "The job is tried again from its last checkpoint."},
    {Reason::kJobCrashLoop, "JOB_CRASH_LOOP", Code::kFailedPrecondition,
     "A job's process died three times at the same step.", "Read the job's events for the cause."},
    {Reason::kTrainingDiverged, "TRAINING_DIVERGED", Code::kFailedPrecondition,
     "The loss or a gradient is not a finite number.", "Lower the learning rate."},
    {Reason::kGpuFault, "GPU_FAULT", Code::kUnavailable,
     "The GPU reported a fault that needs a new process.",
     "The supervisor restarts the daemon; retry."},
    {Reason::kGpuOutOfMemory, "GPU_OUT_OF_MEMORY", Code::kResourceExhausted,
     "The GPU has not enough free memory for this request.", "Ask for less, or retry later."},
    {Reason::kDeviceUnavailable, "DEVICE_UNAVAILABLE", Code::kFailedPrecondition,
     "The requested device is not available.", "Use --device cpu or auto."},
    {Reason::kCredentialMissing, "CREDENTIAL_MISSING", Code::kUnauthenticated,
     "The call has no bearer token.", "Pass --token-file."},
    {Reason::kCredentialInvalid, "CREDENTIAL_INVALID", Code::kUnauthenticated,
     "The server does not know the bearer token.", "Ask the operator for a token."},
    {Reason::kScopeRequired, "SCOPE_REQUIRED", Code::kPermissionDenied,
     "The token lacks the scope of this call.",
     "Ask the operator for the scope that the details name."},
    {Reason::kInsecureBind, "INSECURE_BIND", Code::kFailedPrecondition,
     "Listening beyond loopback needs TLS and tokens.",
     "Give --tls-cert, --tls-key and --tokens, or listen on loopback."},
    {Reason::kInternal, "INTERNAL", Code::kInternal, "A fault in the program.",
     "Report it with the request id."},
};

// Fields are written as <length>:<bytes>, so they may contain any byte.
void Put(std::string& out, std::string_view text) {
  out += std::to_string(text.size());
  out += ':';
  out += text;
}

bool Take(std::string_view& in, std::string& out) {
  const size_t colon = in.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon > 9) return false;
  size_t length = 0;
  for (char c : in.substr(0, colon)) {
    if (c < '0' || c > '9') return false;
    length = length * 10 + static_cast<size_t>(c - '0');
  }
  if (length > in.size() - colon - 1) return false;
  out = std::string(in.substr(colon + 1, length));
  in.remove_prefix(colon + 1 + length);
  return true;
}

std::string SerializeDetails(const ErrorDetails& details) {
  std::string out;
  Put(out, SpecOf(details.reason).name);
  Put(out, details.retry_after_ms ? std::to_string(*details.retry_after_ms) : "");
  Put(out, details.resource_type);
  Put(out, details.resource_name);
  Put(out, std::to_string(details.metadata.size()));
  for (const auto& [key, value] : details.metadata) {
    Put(out, key);
    Put(out, value);
  }
  for (const FieldViolation& violation : details.violations) {
    Put(out, violation.field);
    Put(out, violation.description);
  }
  return out;
}

std::optional<ErrorDetails> ParseDetails(std::string_view in) {
  ErrorDetails details;
  std::string reason, retry, count, key, value;
  if (!Take(in, reason) || !Take(in, retry) || !Take(in, details.resource_type) ||
      !Take(in, details.resource_name) || !Take(in, count)) {
    return std::nullopt;
  }
  details.reason = ReasonByName(reason).value_or(Reason::kInternal);
  if (!retry.empty()) details.retry_after_ms = std::atoll(retry.c_str());
  for (int i = std::atoi(count.c_str()); i > 0; --i) {
    if (!Take(in, key) || !Take(in, value)) return std::nullopt;
    details.metadata[key] = value;
  }
  while (!in.empty()) {
    if (!Take(in, key) || !Take(in, value)) return std::nullopt;
    details.violations.push_back({key, value});
  }
  return details;
}

}  // namespace

std::span<const ReasonSpec> AllReasons() { return kReasons; }

const ReasonSpec& SpecOf(Reason reason) { return kReasons[static_cast<size_t>(reason)]; }

std::optional<Reason> ReasonByName(std::string_view name) {
  const auto* it = std::find_if(std::begin(kReasons), std::end(kReasons),
                                [&](const ReasonSpec& spec) { return name == spec.name; });
  if (it == std::end(kReasons)) return std::nullopt;
  return it->reason;
}

absl::Status WithDetails(std::string_view message, const ErrorDetails& details) {
  absl::Status status(SpecOf(details.reason).code,
                      absl::string_view(message.data(), message.size()));
  status.SetPayload(kPayloadUrl, absl::Cord(SerializeDetails(details)));
  return status;
}

absl::Status WithViolations(const ErrorDetails& details) {
  std::string message;
  for (const FieldViolation& violation : details.violations) {
    if (!message.empty()) message += "; ";
    message += violation.field + " " + violation.description;
  }
  return WithDetails(message, details);
}

absl::Status Error(Reason reason, std::string_view message, Metadata metadata) {
  ErrorDetails details;
  details.reason = reason;
  details.metadata = std::move(metadata);
  return WithDetails(message, details);
}

absl::Status NotFound(Reason reason, std::string_view resource_type,
                      std::string_view resource_name) {
  ErrorDetails details;
  details.reason = reason;
  details.resource_type = resource_type;
  details.resource_name = resource_name;
  std::string message =
      "no " + details.resource_type + " is named \"" + details.resource_name + "\"";
  return WithDetails(message, details);
}

absl::Status RetryLater(Reason reason, std::string_view message, int64_t retry_after_ms) {
  ErrorDetails details;
  details.reason = reason;
  details.retry_after_ms = retry_after_ms;
  return WithDetails(message, details);
}

ErrorDetails DetailsOf(const absl::Status& status) {
  if (absl::optional<absl::Cord> payload = status.GetPayload(kPayloadUrl)) {
    if (auto details = ParseDetails(std::string(*payload))) return *details;
  }
  ErrorDetails details;
  for (const ReasonSpec& spec : kReasons) {
    if (spec.code == status.code()) {
      details.reason = spec.reason;
      break;
    }
  }
  return details;
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(),
                         std::string(context) + ": " + std::string(status.message()));
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& payload) {
    annotated.SetPayload(url, payload);
  });
  return annotated;
}

std::string SerializeStatus(const absl::Status& status) {
  std::string out;
  Put(out, std::to_string(static_cast<int>(status.code())));
  Put(out, std::string(status.message()));
  if (!status.ok()) Put(out, SerializeDetails(DetailsOf(status)));
  return out;
}

absl::Status ParseStatus(std::string_view text) {
  std::string code, message, details;
  if (!Take(text, code) || !Take(text, message)) {
    return Error(Reason::kInternal, "a status from another process could not be read");
  }
  const int value = std::atoi(code.c_str());
  if (value == 0) return absl::OkStatus();
  absl::Status status(static_cast<absl::StatusCode>(value), message);
  if (Take(text, details)) status.SetPayload(kPayloadUrl, absl::Cord(details));
  return status;
}

void Violations::Add(std::string_view field, std::string_view description) {
  violations_.push_back({std::string(field), std::string(description)});
}

absl::Status Violations::ToStatus(Reason reason) const {
  if (violations_.empty()) return absl::OkStatus();
  ErrorDetails details;
  details.reason = reason;
  details.violations = violations_;
  return WithViolations(details);
}

}  // namespace lfm2
