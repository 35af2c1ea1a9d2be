// lfm2ctl parity
#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "client/calls/model_claims.h"
#include "client/calls/upload.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

constexpr size_t kTopLogits = 5;

struct Flags {
  v1::ParityRequest request;
  v1::ModelRef model;
  ModelClaims claims;
  std::string against;
};

struct Result {
  std::vector<v1::Probe> probes;
  std::vector<v1::Logits> logits;
  std::optional<v1::ParityComparison> comparison;
};

absl::StatusOr<Result> Ask(Session& session, const v1::ParityRequest& request) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  Result result;
  StatusLine line(session.console);
  LFM2_RETURN_IF_ERROR((client->Stream<v1::Models::Stub, v1::ParityRequest, v1::ParityResponse>(
      client->models(), &v1::Models::Stub::Parity, request, [&](const v1::ParityResponse& event) {
        if (event.has_probe()) result.probes.push_back(event.probe());
        if (event.has_logits()) result.logits.push_back(event.logits());
        if (event.has_comparison()) result.comparison = event.comparison();
        line.Show(absl::StrFormat("parity: %d probes", result.probes.size()));
        return absl::OkStatus();
      })));
  if (result.logits.empty())
    return Error(Reason::kInternal, "the server's answer ended without logits");
  std::sort(result.logits.begin(), result.logits.end(),
            [](const v1::Logits& a, const v1::Logits& b) { return a.position() < b.position(); });
  return result;
}

Json ProbeJson(const v1::Probe& probe) {
  Json json = ProtoToJson(probe);
  if (probe.values().empty()) json.erase("values");
  return json;
}

Json ResultJson(const Result& result, const v1::ParityRequest& request) {
  Json probes = Json::array(), logits = Json::array();
  for (const v1::Probe& probe : result.probes) probes.push_back(ProbeJson(probe));
  for (const v1::Logits& position : result.logits)
    logits.push_back(ProtoToJson(position)["values"]);
  Json json = {{"probes", std::move(probes)},
               {"logits", request.all_logits() ? logits : logits.back()}};
  if (result.comparison) json["comparison"] = ProtoToJson(*result.comparison);
  return json;
}

std::string LogitsLine(const v1::Logits& logits) {
  std::vector<int> ids(static_cast<size_t>(logits.values_size()));
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int>(i);
  const size_t count = std::min(kTopLogits, ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count), ids.end(),
                    [&](int a, int b) { return logits.values(a) > logits.values(b); });
  std::string text = absl::StrFormat("logits at %d, largest:", logits.position());
  for (size_t i = 0; i < count; ++i)
    text += absl::StrFormat("  %d: %.6f", ids[i], logits.values(ids[i]));
  return text;
}

absl::Status PrintTable(Session& session, const Result& result) {
  std::vector<Row> rows;
  for (const v1::Probe& probe : result.probes) {
    rows.push_back({probe.name(), "[" + absl::StrJoin(probe.shape(), ", ") + "]",
                    absl::StrFormat("%.6g", probe.sum()), absl::StrFormat("%.6g", probe.abs_mean()),
                    absl::StrFormat("%.6g", probe.max()), absl::StrFormat("%.6g", probe.norm())});
  }
  LFM2_RETURN_IF_ERROR(Write(
      session.console, RenderTable({"PROBE", "SHAPE", "SUM", "ABS MEAN", "MAX", "NORM"}, rows)));
  for (const v1::Logits& logits : result.logits)
    LFM2_RETURN_IF_ERROR(WriteLine(session.console, LogitsLine(logits)));
  if (!result.comparison) return absl::OkStatus();
  std::vector<Row> differences;
  for (const v1::ProbeDifference& probe : result.comparison->probes()) {
    if (!probe.differs() && !session.verbose) continue;
    differences.push_back({probe.name(), absl::StrFormat("%.3g", probe.max_abs_difference()),
                           absl::StrFormat("%.3g", probe.tolerance()),
                           probe.differs() ? "differs" : "equal", probe.note()});
  }
  if (!differences.empty()) {
    LFM2_RETURN_IF_ERROR(
        Write(session.console,
              RenderTable({"PROBE", "DIFFERENCE", "TOLERANCE", "RESULT", "NOTE"}, differences)));
  }
  if (!result.comparison->first_difference().empty()) return absl::OkStatus();
  return WriteLine(
      session.console,
      absl::StrFormat("equal: %d probes, largest difference of the logits %.3g",
                      result.comparison->probes_size(), result.comparison->max_logit_difference()));
}

absl::Status Verdict(const v1::ParityComparison& comparison) {
  if (comparison.first_difference().empty()) return absl::OkStatus();
  std::string message = "the first probe that differs is " + comparison.first_difference();
  for (const v1::ProbeDifference& probe : comparison.probes()) {
    if (probe.name() != comparison.first_difference()) continue;
    message +=
        absl::StrFormat(", by %g (tolerance %g)", probe.max_abs_difference(), probe.tolerance());
    if (!probe.note().empty()) message += ": " + probe.note();
    break;
  }
  return FailedResult(message);
}

absl::Status Run(Session& session, Flags& flags) {
  LFM2_RETURN_IF_ERROR(CheckClaims(session, flags.model, flags.claims));
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  if (!flags.against.empty()) {
    LFM2_ASSIGN_OR_RETURN(*flags.request.mutable_against(),
                          MakeSource(session, flags.against, SourcePurpose::kWeights));
  }
  LFM2_ASSIGN_OR_RETURN(const Result result, Ask(session, flags.request));
  if (!flags.against.empty() && !result.comparison) {
    return Error(Reason::kInternal, "the server's answer ended without the comparison");
  }
  LFM2_RETURN_IF_ERROR(session.table()
                           ? PrintTable(session, result)
                           : WriteJson(session.console, ResultJson(result, flags.request)));
  return result.comparison ? Verdict(*result.comparison) : absl::OkStatus();
}

}  // namespace

void AddParity(CLI::App& app, Session& session) {
  CLI::App* verb =
      app.add_subcommand("parity", "Statistics of every layer and the logits for given tokens");
  const auto flags = std::make_shared<Flags>();
  AddModelFlag(*verb, flags->model);
  IdsFlag(*verb, "--tokens,--prompt_ids", "The tokens", [flags](std::vector<int32_t> ids) {
    flags->request.mutable_tokens()->Assign(ids.begin(), ids.end());
  })->required();
  TextFlag(*verb, "--logits", "last or all positions [last]", [flags](const std::string& v) {
    flags->request.set_all_logits(v == "all");
  })->check(CLI::IsMember({"last", "all"}));
  SwitchFlag(*verb, "values", "Print all values of each probe (JSON only)",
             [flags](bool v) { flags->request.set_values(v); });
  TextFlag(*verb, "--against",
           std::string("Compare with this source; exit code 1 when it differs: ") + kSourceHelp,
           [flags](const std::string& v) { flags->against = v; });
  NumberFlag(*verb, "--tolerance", "Largest difference that counts as equal [1e-4]",
             [flags](double v) { flags->request.set_tolerance(v); });
  AddLocalFlag(*verb);
  AddClaimFlags(*verb, flags->claims);
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
