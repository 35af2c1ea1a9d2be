// lfm2ctl model list, get, init
#include <memory>

#include "base/status_macros.h"
#include "client/calls/init_model.h"
#include "client/calls/upload.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/terminal/progress.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct InitFlags {
  v1::InitModelRequest request;
  std::string source, tokenizer;
};

Json ModelJson(const v1::Model& model) {
  Json json = ProtoToJson(model);
  if (model.config_json().empty()) {
    json.erase("config_json");
    return json;
  }
  const Json config = Json::parse(model.config_json(), nullptr, /*allow_exceptions=*/false);
  if (!config.is_discarded()) json["config"] = config;
  return json;
}

absl::Status RunList(Session& session) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::ListModelsRequest request;
  request.set_page_size(1000);
  std::vector<Row> rows;
  Json list = Json::array();
  do {
    LFM2_ASSIGN_OR_RETURN(const v1::ListModelsResponse page,
                          client->Call(client->models(), &v1::Models::Stub::ListModels, request));
    for (const v1::Model& model : page.models()) {
      if (session.jsonl()) LFM2_RETURN_IF_ERROR(WriteJson(session.console, ModelJson(model)));
      if (session.json()) list.push_back(ModelJson(model));
      rows.push_back({model.name(), model.version(), model.architecture(),
                      FormatCount(static_cast<double>(model.parameters())), model.tokenizer_kind(),
                      model.loaded() ? model.device() + " " + model.dtype() : "-",
                      model.made_from()});
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (session.jsonl()) return absl::OkStatus();
  if (session.json()) return WriteJson(session.console, {{"models", std::move(list)}});
  return Write(session.console, RenderTable({"MODEL", "VERSION", "ARCH", "PARAMETERS", "TOKENIZER",
                                             "LOADED", "MADE FROM"},
                                            rows));
}

absl::Status RunGet(Session& session, const std::string& name) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::GetModelRequest request;
  if (!name.empty()) request.mutable_model()->set_name(ModelReference(name));
  LFM2_ASSIGN_OR_RETURN(const v1::Model model,
                        client->Call(client->models(), &v1::Models::Stub::GetModel, request));
  const Json json = ModelJson(model);
  if (!session.table()) return WriteJson(session.console, json);
  std::vector<Row> rows;
  for (const auto& [key, value] : json.items()) {
    if (key == "name" || key == "config_json") continue;
    rows.push_back({key, value.is_string() ? value.get<std::string>() : DumpJson(value)});
  }
  return Write(session.console, RenderTable({"model", model.name()}, rows));
}

absl::Status RunInit(Session& session, InitFlags& flags) {
  if (!flags.source.empty()) {
    LFM2_ASSIGN_OR_RETURN(*flags.request.mutable_source(),
                          MakeSource(session, flags.source, SourcePurpose::kWeights));
  }
  if (!flags.tokenizer.empty()) {
    LFM2_ASSIGN_OR_RETURN(*flags.request.mutable_tokenizer(),
                          MakeSource(session, flags.tokenizer, SourcePurpose::kTokenizer));
  }
  if (flags.request.request_id().empty()) flags.request.set_request_id("ctl-" + RandomId());
  LFM2_ASSIGN_OR_RETURN(const InitResult result, InitModel(session, flags.request));
  if (!session.table()) {
    return WriteJson(session.console, {{"job_id", result.job_id},
                                       {"model", ModelJson(result.model)},
                                       {"report", ProtoToJson(result.report)}});
  }
  const ReportDetail detail = session.verbose ? ReportDetail::kAll : ReportDetail::kNotCopied;
  LFM2_RETURN_IF_ERROR(Write(session.console, RenderReport(result.report, detail)));
  return WriteLine(session.console, "model " + result.model.name() + "@" + result.model.version());
}

void AddInit(CLI::App& model, Session& session) {
  CLI::App* verb =
      model.add_subcommand("init", "Create a model from another one, or with fresh weights");
  const auto flags = std::make_shared<InitFlags>();
  TextFlag(*verb, "--name,--save,--save_path,--out",
           "Name of the new model; adds a version when the name exists",
           [flags](const std::string& v) { flags->request.set_name(v); })
      ->required();
  TextFlag(*verb, "--from,--src,--init_from,--model,--load_path",
           std::string("[fresh weights]: ") + kSourceHelp,
           [flags](const std::string& v) { flags->source = v; });
  SwitchFlag(*verb, "partial", "Use every tensor that fits in name and shape",
             [flags](bool v) { flags->request.set_partial(v); });
  TextFlag(*verb, "--tokenizer,--hf_tokenizer",
           std::string("[the source's, else bytes]: bytes; ") + kSourceHelp,
           [flags](const std::string& v) { flags->tokenizer = v; });
  UintFlag(*verb, "--seed", "Seed of fresh tensors [0]",
           [flags](uint64_t v) { flags->request.set_seed(v); });
  TextFlag(*verb, "--request_id", "Repeating an id gives the same model [random]",
           [flags](const std::string& v) { flags->request.set_request_id(v); });
  AddLocalFlag(*verb);
  AddShapeFlags(*verb, *flags->request.mutable_shape());
  verb->callback([&session, flags] {
    session.action = [&session, flags] { return RunInit(session, *flags); };
  });
}

}  // namespace

void AddModel(CLI::App& app, Session& session) {
  CLI::App* model = app.add_subcommand("model", "Models of the server");
  model->require_subcommand(1);
  model->add_subcommand("list", "All models")->callback([&session] {
    session.action = [&session] { return RunList(session); };
  });
  CLI::App* get = model->add_subcommand("get", "One model, with its config");
  const auto name = std::make_shared<std::string>();
  TextFlag(*get, "MODEL", "NAME, NAME@vN or hf:ORG/NAME [the server's default]",
           [name](const std::string& v) { *name = v; });
  get->callback(
      [&session, name] { session.action = [&session, name] { return RunGet(session, *name); }; });
  AddInit(*model, session);
}

}  // namespace lfm2
