// lfm2ctl score
#include <cmath>
#include <memory>
#include <numeric>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "client/calls/jsonl.h"
#include "client/calls/model_claims.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct Flags {
  v1::ScoreRequest request;
  v1::ModelRef model;
  ModelClaims claims;
  TextInput text;
  std::optional<std::vector<int32_t>> ids;
  bool jsonl = false;
};

absl::StatusOr<v1::ScoreResponse> Score(Session& session, const v1::ScoreRequest& request) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  return client->Call(client->generation(), &v1::Generation::Stub::Score, request,
                      CallLength::kLong);
}

absl::Status SetText(v1::ScoreRequest& request, std::string text) {
  if (!IsValidUtf8(text)) return Error(Reason::kInvalidUtf8, "the text is not UTF-8");
  request.set_text(std::move(text));
  return absl::OkStatus();
}

absl::StatusOr<Json> ScoreLine(Session& session, v1::ScoreRequest request, const Json& line) {
  if (line.contains("ids") == line.contains("text")) {
    return Error(Reason::kInvalidArgument, "needs either \"ids\" or \"text\"");
  }
  if (line.contains("ids")) {
    LFM2_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, IdsField(line, "ids"));
    request.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.end());
  } else {
    LFM2_ASSIGN_OR_RETURN(std::string text, TextField(line, "text"));
    LFM2_RETURN_IF_ERROR(SetText(request, std::move(text)));
  }
  LFM2_ASSIGN_OR_RETURN(const v1::ScoreResponse response, Score(session, request));
  const Json all = ProtoToJson(response);
  return Json{{"logprobs", all["logprobs"]}, {"ids", all["ids"]}};
}

absl::Status PrintTable(Session& session, const v1::ScoreResponse& response) {
  std::vector<Row> rows;
  for (int i = 0; i < response.ids_size(); ++i) {
    const bool scored = i > 0 && i - 1 < response.logprobs_size();
    rows.push_back({std::to_string(i), std::to_string(response.ids(i)),
                    scored ? absl::StrFormat("%.6f", response.logprobs(i - 1)) : "-"});
  }
  LFM2_RETURN_IF_ERROR(Write(session.console, RenderTable({"POSITION", "ID", "LOGPROB"}, rows)));
  const double sum = std::accumulate(response.logprobs().begin(), response.logprobs().end(), 0.0);
  const double mean = response.logprobs_size() > 0 ? sum / response.logprobs_size() : 0;
  return WriteLine(session.console, absl::StrFormat("sum %.6f  mean %.6f  perplexity %.4f", sum,
                                                    mean, std::exp(-mean)));
}

absl::Status Run(Session& session, Flags& flags) {
  LFM2_RETURN_IF_ERROR(CheckClaims(session, flags.model, flags.claims));
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  if (flags.jsonl) {
    return ForEachLine(session,
                       [&](const Json& line) { return ScoreLine(session, flags.request, line); });
  }
  if (flags.ids) {
    if (flags.text.text || flags.text.file)
      return UsageError("--text and --tokens exclude each other");
    flags.request.mutable_tokens()->mutable_ids()->Assign(flags.ids->begin(), flags.ids->end());
  } else {
    LFM2_ASSIGN_OR_RETURN(std::string text, ReadText(session, flags.text));
    LFM2_RETURN_IF_ERROR(SetText(flags.request, std::move(text)));
  }
  LFM2_ASSIGN_OR_RETURN(const v1::ScoreResponse response, Score(session, flags.request));
  return session.table() ? PrintTable(session, response)
                         : WriteJson(session.console, ProtoToJson(response));
}

}  // namespace

void AddScore(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand("score", "Log-probability of each token of a text");
  const auto flags = std::make_shared<Flags>();
  AddModelFlag(*verb, flags->model);
  TextFlag(*verb, "--text,--prompt", "The text; - or no text at all reads stdin",
           [flags](const std::string& v) { flags->text.text = v; });
  TextFlag(*verb, "-f,--file", "File with the text",
           [flags](const std::string& v) { flags->text.file = v; });
  IdsFlag(*verb, "--tokens,--ids,--prompt_ids", "Token ids instead of a text",
          [flags](std::vector<int32_t> ids) { flags->ids = std::move(ids); });
  verb->add_flag("--jsonl", flags->jsonl,
                 "Lines {\"text\"} or {\"ids\"} on stdin to lines {\"logprobs\"} on stdout");
  SwitchFlag(*verb, "special", "Add special tokens such as BOS before the text [on]",
             [flags](bool v) { flags->request.set_add_special(v); });
  SwitchFlag(*verb, "allow_special", "Parse special tokens in the text [off]",
             [flags](bool v) { flags->request.set_parse_special(v); });
  AddClaimFlags(*verb, flags->claims);
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
