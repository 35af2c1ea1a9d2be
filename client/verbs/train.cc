// lfm2ctl train list, get, watch, cancel; train start is in train_start.cc
#include <chrono>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "client/calls/watch.h"
#include "client/calls/watch_view.h"
#include "client/flags/flags.h"
#include "client/terminal/progress.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/train_verbs.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct ListFlags {
  std::string state;
  int64_t limit = 100;
};

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

absl::StatusOr<std::vector<v1::Job>> ListJobs(Session& session, const ListFlags& flags) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::ListJobsRequest request;
  if (!flags.state.empty()) {
    v1::JobState state = v1::JOB_STATE_UNSPECIFIED;
    if (!v1::JobState_Parse("JOB_STATE_" + absl::AsciiStrToUpper(flags.state), &state)) {
      return UsageError(
          "--state is \"" + flags.state +
          "\": queued, running, succeeded, failed, cancelled or quarantined is needed");
    }
    request.set_state(state);
  }
  std::vector<v1::Job> jobs;
  while (true) {
    request.set_page_size(static_cast<int32_t>(
        std::clamp<int64_t>(flags.limit - static_cast<int64_t>(jobs.size()), 1, 1000)));
    LFM2_ASSIGN_OR_RETURN(const v1::ListJobsResponse page,
                          client->Call(client->training(), &v1::Training::Stub::ListJobs, request));
    jobs.insert(jobs.end(), page.jobs().begin(), page.jobs().end());
    if (page.next_page_token().empty() || static_cast<int64_t>(jobs.size()) >= flags.limit)
      return jobs;
    request.set_page_token(page.next_page_token());
  }
}

absl::Status RunList(Session& session, const ListFlags& flags) {
  LFM2_ASSIGN_OR_RETURN(const std::vector<v1::Job> jobs, ListJobs(session, flags));
  std::vector<Row> rows;
  Json list = Json::array();
  for (const v1::Job& job : jobs) {
    if (session.jsonl()) LFM2_RETURN_IF_ERROR(WriteJson(session.console, ProtoToJson(job)));
    if (session.json()) list.push_back(ProtoToJson(job));
    rows.push_back({job.id(), EnumWord(job.kind()), EnumWord(job.state()), job.model(),
                    absl::StrFormat("%d/%d", job.step(), job.steps()),
                    job.step() > 0 ? absl::StrFormat("%.4f", job.loss()) : "-",
                    FormatAge(job.created_at_ms(), NowMs())});
  }
  if (session.jsonl()) return absl::OkStatus();
  if (session.json()) return WriteJson(session.console, {{"jobs", std::move(list)}});
  return Write(session.console,
               RenderTable({"JOB", "KIND", "STATE", "MODEL", "STEP", "LOSS", "CREATED"}, rows));
}

absl::Status RunCancel(Session& session, const std::string& id) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::CancelJobRequest request;
  request.set_id(id);
  LFM2_ASSIGN_OR_RETURN(const v1::Job job,
                        client->Call(client->training(), &v1::Training::Stub::CancelJob, request));
  return PrintJob(session, job);
}

absl::Status RunGet(Session& session, const std::string& id) {
  LFM2_ASSIGN_OR_RETURN(const v1::Job job, GetJob(session, id));
  return PrintJob(session, job);
}

CLI::App* AddJobVerb(CLI::App& train, const char* name, const char* help, std::string& id) {
  CLI::App* verb = train.add_subcommand(name, help);
  TextFlag(*verb, "JOB", "Id of the job", [&id](const std::string& v) { id = v; })->required();
  return verb;
}

}  // namespace

absl::Status PrintJob(Session& session, const v1::Job& job) {
  if (!session.table()) return WriteJson(session.console, {{"job", ProtoToJson(job)}});
  std::vector<Row> rows = {
      {"kind", EnumWord(job.kind())},
      {"state", EnumWord(job.state()) + (job.cancel_requested() ? " (cancel requested)" : "")},
      {"model", job.model() + (job.result_version().empty() ? "" : "@" + job.result_version())},
      {"attempt", std::to_string(job.attempt())},
      {"step", absl::StrFormat("%d/%d", job.step(), job.steps())},
      {"loss", absl::StrFormat("%.4f", job.loss())},
      {"tokens/s", FormatCount(job.tokens_per_second())},
      {"created", FormatAge(job.created_at_ms(), NowMs())},
      {"updated", FormatAge(job.updated_at_ms(), NowMs())}};
  if (!job.checkpoint().empty()) rows.push_back({"checkpoint", job.checkpoint()});
  if (job.has_error())
    rows.push_back({"error", job.error().reason() + ": " + job.error().message()});
  for (const auto& [key, value] : job.labels()) rows.push_back({"label " + key, value});
  return Write(session.console, RenderTable({"job", job.id()}, rows));
}

absl::Status JobResult(const v1::Job& job) {
  if (job.state() == v1::JOB_STATE_SUCCEEDED) return absl::OkStatus();
  std::string message = "job " + job.id() + " is " + EnumWord(job.state());
  if (job.has_error()) message += ": " + job.error().reason() + ": " + job.error().message();
  return FailedResult(message);
}

absl::Status WatchToEnd(Session& session, const WatchOptions& options) {
  LFM2_ASSIGN_OR_RETURN(v1::Job job, GetJob(session, options.job));
  WatchView view(session, job.steps());
  const absl::Status status = WatchJob(session, options, [&](const v1::JobEvent& event) {
    if (session.jsonl()) return WriteJson(session.console, EventToJson(event));
    return session.table() ? view.OnEvent(event) : absl::OkStatus();
  });
  if (session.table() && !IsOutputClosed(status)) LFM2_RETURN_IF_ERROR(view.Finish());
  if (session.interrupts.raised()) {
    Remark(session.console, "job " + options.job + " is still running; `lfm2ctl train watch " +
                                options.job + "` shows it");
  }
  LFM2_RETURN_IF_ERROR(status);
  LFM2_ASSIGN_OR_RETURN(job, GetJob(session, options.job));
  if (session.json()) LFM2_RETURN_IF_ERROR(PrintJob(session, job));
  return JobResult(job);
}

void AddTrain(CLI::App& app, Session& session) {
  CLI::App* train = app.add_subcommand("train", "Training jobs");
  train->require_subcommand(1);
  AddTrainStart(*train, session);

  CLI::App* list = train->add_subcommand("list", "Jobs, newest first");
  const auto list_flags = std::make_shared<ListFlags>();
  TextFlag(*list, "--state", "Only those in this state",
           [list_flags](const std::string& v) { list_flags->state = v; });
  IntFlag(*list, "--limit", "Most jobs to list [100]", [list_flags](int64_t v) {
    list_flags->limit = v;
  })->check(CLI::Range(1, 1'000'000));
  list->callback([&session, list_flags] {
    session.action = [&session, list_flags] { return RunList(session, *list_flags); };
  });

  const auto id = std::make_shared<std::string>();
  AddJobVerb(*train, "get", "One job", *id)->callback([&session, id] {
    session.action = [&session, id] { return RunGet(session, *id); };
  });
  AddJobVerb(*train, "cancel", "End a job at its next step; its checkpoint is kept", *id)
      ->callback(
          [&session, id] { session.action = [&session, id] { return RunCancel(session, *id); }; });
  const auto options = std::make_shared<WatchOptions>();
  CLI::App* watch =
      AddJobVerb(*train, "watch",
                 "Show a job's events until it ends; reconnects after a lost connection", *id);
  IntFlag(*watch, "--from", "Number of the first event [1]", [options](int64_t v) {
    options->from_seq = v;
  })->check(CLI::Range(int64_t{1}, INT64_MAX));
  watch->callback([&session, id, options] {
    session.action = [&session, id, options] {
      options->job = *id;
      return WatchToEnd(session, *options);
    };
  });
}

}  // namespace lfm2
