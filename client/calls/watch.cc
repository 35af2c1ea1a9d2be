#include "client/calls/watch.h"

#include <algorithm>

#include "base/status_macros.h"
#include "client/terminal/proto_json.h"

namespace lfm2 {
namespace {

// What was received from one stream.
struct Pass {
  int64_t next_seq = 1;
  bool progressed = false;
  bool gap = false;
};

absl::Status RunPass(Session& session, const WatchOptions& options, Pass& pass,
                     const std::function<absl::Status(const v1::JobEvent&)>& on_event) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::WatchJobRequest request;
  request.set_id(options.job);
  request.set_from_seq(pass.next_seq);
  return client->Stream<v1::Training::Stub, v1::WatchJobRequest, v1::JobEvent>(
      client->training(), &v1::Training::Stub::WatchJob, request,
      [&](const v1::JobEvent& event) -> absl::Status {
        if (event.seq() < pass.next_seq) return absl::OkStatus();
        if (event.seq() > pass.next_seq) {
          pass.gap = true;
          return absl::UnavailableError("event " + std::to_string(pass.next_seq) + " of job " +
                                        options.job + " is missing: the server sent " +
                                        std::to_string(event.seq()));
        }
        LFM2_RETURN_IF_ERROR(on_event(event));
        ++pass.next_seq;
        pass.progressed = true;
        return absl::OkStatus();
      });
}

// A stream that ends with OK may have been closed by a daemon that is stopping, so the job's own
// state decides.
absl::Status EndedOrUnavailable(Session& session, const std::string& id, int64_t next_seq) {
  LFM2_ASSIGN_OR_RETURN(const v1::Job job, GetJob(session, id));
  if (HasEnded(job.state()) && job.last_seq() < next_seq) return absl::OkStatus();
  return absl::UnavailableError("the server closed the stream of job " + id + " before its end");
}

}  // namespace

bool HasEnded(v1::JobState state) {
  return state == v1::JOB_STATE_SUCCEEDED || state == v1::JOB_STATE_FAILED ||
         state == v1::JOB_STATE_CANCELLED || state == v1::JOB_STATE_QUARANTINED;
}

absl::StatusOr<v1::Job> GetJob(Session& session, const std::string& id) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::GetJobRequest request;
  request.set_id(id);
  return client->Call(client->training(), &v1::Training::Stub::GetJob, request);
}

absl::Status WatchJob(Session& session, const WatchOptions& options,
                      const std::function<absl::Status(const v1::JobEvent&)>& on_event) {
  Pass pass;
  pass.next_seq = options.from_seq;
  bool reached = options.first_call == Lost::kReconnect;
  int failures = 0;
  int64_t backoff_ms = options.first_backoff_ms;
  while (true) {
    pass.progressed = pass.gap = false;
    absl::Status status = RunPass(session, options, pass, on_event);
    if (status.ok()) {
      reached = true;
      status = EndedOrUnavailable(session, options.job, pass.next_seq);
    }
    reached = reached || pass.progressed || pass.gap;
    if (status.code() != absl::StatusCode::kUnavailable || !reached) return status;
    if (session.interrupts.raised()) return status;
    if (pass.progressed) {
      failures = 0;
      backoff_ms = options.first_backoff_ms;
    }
    if (++failures > options.attempts) return status;
    if (!session.interrupts.SleepFor(backoff_ms)) return absl::CancelledError("interrupted");
    backoff_ms = std::min(backoff_ms * 2, options.longest_backoff_ms);
  }
}

Json EventToJson(const v1::JobEvent& event) {
  Json json = {{"seq", event.seq()}, {"at_ms", event.at_ms()}};
  const auto add = [&json](const char* type, const google::protobuf::Message& fields) {
    json["type"] = type;
    json.update(ProtoToJson(fields));
  };
  switch (event.event_case()) {
    case v1::JobEvent::kState:
      add("state", event.state());
      break;
    case v1::JobEvent::kMetrics:
      add("metrics", event.metrics());
      break;
    case v1::JobEvent::kEval:
      add("eval", event.eval());
      break;
    case v1::JobEvent::kCheckpoint:
      add("checkpoint", event.checkpoint());
      break;
    case v1::JobEvent::kNote:
      json["type"] = "note";
      json["text"] = event.note();
      break;
    case v1::JobEvent::kProgress:
      add("progress", event.progress());
      break;
    case v1::JobEvent::kReport:
      add("report", event.report());
      break;
    case v1::JobEvent::EVENT_NOT_SET:
      json["type"] = "unknown";  // from a newer server
      break;
  }
  return json;
}

}  // namespace lfm2
