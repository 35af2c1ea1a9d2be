#include "client/calls/init_model.h"

#include <map>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/sha256.h"
#include "base/status_macros.h"
#include "client/calls/upload.h"
#include "client/terminal/proto_json.h"

namespace lfm2 {
namespace {

absl::StatusOr<v1::Model> GetModel(Client& client, const std::string& name) {
  v1::GetModelRequest request;
  request.mutable_model()->set_name(name);
  return client.Call(client.models(), &v1::Models::Stub::GetModel, request);
}

// A name may mean another version later; a name with a version always means the same model.
absl::StatusOr<std::string> Identity(Client& client, const v1::Source& source) {
  std::string name = source.model();
  if (!source.hf().empty()) name = "hf:" + source.hf();
  if (name.empty()) return source.SerializeAsString();
  LFM2_ASSIGN_OR_RETURN(const v1::Model model, GetModel(client, name));
  return model.name() + "@" + model.version();
}

}  // namespace

absl::StatusOr<InitResult> InitModel(Session& session, const v1::InitModelRequest& request) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  StatusLine line(session.console);
  InitResult result;
  LFM2_RETURN_IF_ERROR(
      (client->Stream<v1::Models::Stub, v1::InitModelRequest, v1::InitModelResponse>(
          client->models(), &v1::Models::Stub::InitModel, request,
          [&](const v1::InitModelResponse& event) {
            if (event.has_progress()) {
              const v1::Progress& progress = event.progress();
              line.Show(absl::StrFormat("%s: %d of %d %s", request.name(), progress.done(),
                                        progress.total(), progress.what()));
            } else if (event.has_report()) {
              result.report = event.report();
            } else if (event.has_model()) {
              result.model = event.model();
            } else if (!event.job_id().empty()) {
              result.job_id = event.job_id();
            }
            return absl::OkStatus();
          })));
  if (result.model.name().empty())
    return Error(Reason::kInternal, "the server's answer ended without a model");
  return result;
}

std::string RenderReport(const v1::ConversionReport& report, ReportDetail detail) {
  std::map<int, int64_t> counts;
  std::vector<Row> rows;
  for (const v1::TensorReport& tensor : report.tensors()) {
    ++counts[static_cast<int>(tensor.fate())];
    if (detail == ReportDetail::kAll || tensor.fate() != v1::TensorReport::FATE_COPIED) {
      rows.push_back({EnumWord(tensor.fate()), tensor.name(), tensor.note()});
    }
  }
  std::vector<Row> totals;
  totals.reserve(counts.size());
  for (const auto& [fate, count] : counts) {
    totals.push_back({EnumWord(static_cast<v1::TensorReport::Fate>(fate)), std::to_string(count)});
  }
  std::string text = RenderTable({"FATE", "TENSORS"}, totals);
  if (!rows.empty()) text += "\n" + RenderTable({"FATE", "TENSOR", "NOTE"}, rows);
  return text;
}

absl::StatusOr<std::string> FindOrInitModel(Session& session, const ImpliedInit& implied) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::InitModelRequest request;
  LFM2_ASSIGN_OR_RETURN(*request.mutable_source(),
                        MakeSource(session, implied.source, SourcePurpose::kWeights));
  LFM2_ASSIGN_OR_RETURN(std::string identity, Identity(*client, request.source()));
  if (!implied.tokenizer.empty()) {
    LFM2_ASSIGN_OR_RETURN(*request.mutable_tokenizer(),
                          MakeSource(session, implied.tokenizer, SourcePurpose::kTokenizer));
    LFM2_ASSIGN_OR_RETURN(const std::string tokenizer, Identity(*client, request.tokenizer()));
    identity += '\n' + tokenizer;
  }
  *request.mutable_shape() = implied.shape;
  identity += '\n' + implied.shape.SerializeAsString();
  request.set_name("init-" + Sha256Hex(identity).substr(0, 12));
  request.set_request_id(request.name());
  request.set_partial(true);
  const absl::StatusOr<v1::Model> existing = GetModel(*client, request.name());
  if (existing.ok()) return request.name();
  if (existing.status().code() != absl::StatusCode::kNotFound) return existing.status();
  LFM2_RETURN_IF_ERROR(InitModel(session, request).status());
  Remark(session.console,
         "created model " + request.name() + " from all that fits in " + implied.source);
  return request.name();
}

}  // namespace lfm2
