// lfm2ctl train start
#include <filesystem>
#include <memory>
#include <set>

#include "absl/strings/match.h"
#include "base/status_macros.h"
#include "client/calls/upload.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/terminal/progress.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/train_verbs.h"

namespace lfm2 {
namespace {

constexpr int kAttempts = 5;
constexpr int64_t kBackoffMs = 200;

struct Flags {
  v1::StartTrainingRequest request;
  std::vector<std::string> data;
  std::string init_from, tokenizer;
  std::optional<bool> partial;
  std::vector<std::string> labels;
  bool watch = false;
};

// Names in a request must be unique: files of the same name from two folders get a number in front.
std::string UniqueName(std::string name, std::set<std::string>& taken) {
  const std::string plain = name;
  for (int i = 2; !taken.insert(name).second; ++i) name = std::to_string(i) + "-" + plain;
  return name;
}

absl::Status AddDatasets(Session& session, Flags& flags) {
  std::set<std::string> taken;
  for (const std::string& text : flags.data) {
    std::error_code error;
    if (absl::StartsWith(text, "sha256:") && !std::filesystem::exists(text, error)) {
      v1::NamedDataset* named = flags.request.add_datasets();
      named->set_dataset(text);
      named->set_name(UniqueName(text.substr(7, 12), taken));
      continue;
    }
    LFM2_ASSIGN_OR_RETURN(const std::vector<LocalFile> files, DataFiles(text));
    for (const LocalFile& file : files) {
      LFM2_ASSIGN_OR_RETURN(const v1::Dataset dataset, UploadFile(session, file));
      v1::NamedDataset* named = flags.request.add_datasets();
      named->set_dataset(dataset.id());
      named->set_name(UniqueName(file.name, taken));
    }
  }
  return absl::OkStatus();
}

absl::Status AddSources(Session& session, Flags& flags) {
  if (!flags.init_from.empty()) {
    LFM2_ASSIGN_OR_RETURN(const ResolvedSource source,
                          ResolveSource(flags.init_from, SourcePurpose::kWeights));
    LFM2_ASSIGN_OR_RETURN(*flags.request.mutable_init_from(), UploadSource(session, source));
    flags.request.set_partial(flags.partial.value_or(source.bare_weights));
  } else {
    flags.request.set_partial(flags.partial.value_or(false));
  }
  if (flags.tokenizer.empty()) return absl::OkStatus();
  LFM2_ASSIGN_OR_RETURN(*flags.request.mutable_tokenizer(),
                        MakeSource(session, flags.tokenizer, SourcePurpose::kTokenizer));
  return absl::OkStatus();
}

absl::Status AddLabels(Flags& flags) {
  for (const std::string& label : flags.labels) {
    const size_t equals = label.find('=');
    if (equals == std::string::npos || equals == 0)
      return UsageError("--label is \"" + label + "\": KEY=VALUE is needed");
    (*flags.request.mutable_labels())[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return absl::OkStatus();
}

// Safe to repeat: with the same request id, the second call returns the first one's job.
absl::StatusOr<v1::StartTrainingResponse> Start(Session& session,
                                                const v1::StartTrainingRequest& request) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  int64_t backoff_ms = kBackoffMs;
  for (int attempt = 1;; ++attempt) {
    absl::StatusOr<v1::StartTrainingResponse> response = client->Call(
        client->training(), &v1::Training::Stub::StartTraining, request, CallLength::kLong);
    const bool retry =
        response.status().code() == absl::StatusCode::kUnavailable && attempt < kAttempts;
    if (!retry || !session.interrupts.SleepFor(backoff_ms)) return response;
    backoff_ms *= 2;
  }
}

absl::Status PrintPlan(Session& session, const v1::TrainPlan& plan) {
  if (!session.table()) return WriteJson(session.console, {{"plan", ProtoToJson(plan)}});
  char epochs[32];
  snprintf(epochs, sizeof epochs, "%.3f", plan.epochs());
  return Write(
      session.console,
      RenderTable({"plan", ""},
                  {{"dataset tokens", std::to_string(plan.dataset_tokens())},
                   {"eval tokens", std::to_string(plan.eval_tokens())},
                   {"tokens per step", std::to_string(plan.tokens_per_step())},
                   {"epochs", epochs},
                   {"parameters", std::to_string(plan.parameters())},
                   {"memory", FormatBytes(static_cast<double>(plan.memory_bytes()))},
                   {"checkpoint", FormatBytes(static_cast<double>(plan.checkpoint_bytes()))}}));
}

absl::Status Run(Session& session, Flags& flags) {
  if (flags.request.name().empty() && !flags.request.validate_only()) {
    return UsageError("--name is needed: the name of the trained model");
  }
  LFM2_RETURN_IF_ERROR(AddLabels(flags));
  LFM2_RETURN_IF_ERROR(AddDatasets(session, flags));
  LFM2_RETURN_IF_ERROR(AddSources(session, flags));
  if (flags.request.request_id().empty()) flags.request.set_request_id("ctl-" + RandomId());
  LFM2_ASSIGN_OR_RETURN(const v1::StartTrainingResponse response, Start(session, flags.request));
  if (flags.request.validate_only()) return PrintPlan(session, response.plan());
  const v1::Job& job = response.job();
  if (session.table()) {
    LFM2_RETURN_IF_ERROR(WriteLine(session.console, job.id()));
  } else if (!flags.watch || session.jsonl()) {
    LFM2_RETURN_IF_ERROR(PrintJob(session, job));
  }
  if (!flags.watch) return absl::OkStatus();
  WatchOptions watch;
  watch.job = job.id();
  watch.first_call = Lost::kReconnect;
  return WatchToEnd(session, watch);
}

}  // namespace

void AddTrainStart(CLI::App& train, Session& session) {
  CLI::App* verb = train.add_subcommand("start", "Upload the data and start a job; prints its id");
  const auto flags = std::make_shared<Flags>();
  TextsFlag(*verb, "--data_path,--data",
            "Text or JSONL file, a folder of them, or sha256:HEX of an upload; may be repeated",
            [flags](const std::string& v) { flags->data.push_back(v); })
      ->required();
  TextFlag(*verb, "--name,--save_path,--save",
           "Name of the trained model; adds a version when the name exists",
           [flags](const std::string& v) { flags->request.set_name(v); });
  TextFlag(*verb, "--init_from,--from,--src,--model,--load_path",
           std::string("Weights to start from [fresh]: ") + kSourceHelp,
           [flags](const std::string& v) { flags->init_from = v; });
  SwitchFlag(
      *verb, "partial",
      "Use every tensor that fits in name and shape [on for weights without a config: NPZ, .pt]",
      [flags](bool v) { flags->partial = v; });
  TextFlag(*verb, "--tokenizer,--hf_tokenizer",
           std::string("[that of --init_from, else bytes]: bytes; ") + kSourceHelp,
           [flags](const std::string& v) { flags->tokenizer = v; });
  TextsFlag(*verb, "--label", "KEY=VALUE, stored with the job; may be repeated",
            [flags](const std::string& v) { flags->labels.push_back(v); });
  TextFlag(*verb, "--request_id", "Repeating an id gives the same job [random]",
           [flags](const std::string& v) { flags->request.set_request_id(v); });
  SwitchFlag(*verb, "validate_only", "Print the plan and start nothing",
             [flags](bool v) { flags->request.set_validate_only(v); });
  verb->add_flag("--watch", flags->watch, "Show the run until it ends; exit code 1 when it fails");
  AddLocalFlag(*verb);
  AddShapeFlags(*verb, *flags->request.mutable_shape());
  AddTrainOptionFlags(*verb, *flags->request.mutable_options());
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
