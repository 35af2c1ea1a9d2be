// lfm2ctl dataset upload, list
#include <memory>

#include "base/status_macros.h"
#include "client/calls/upload.h"
#include "client/flags/flags.h"
#include "client/terminal/progress.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

absl::Status Print(Session& session, const std::vector<v1::Dataset>& datasets) {
  Json list = Json::array();
  std::vector<Row> rows;
  for (const v1::Dataset& dataset : datasets) {
    if (session.jsonl()) LFM2_RETURN_IF_ERROR(WriteJson(session.console, ProtoToJson(dataset)));
    list.push_back(ProtoToJson(dataset));
    rows.push_back(
        {dataset.id(), FormatBytes(static_cast<double>(dataset.bytes())), dataset.name()});
  }
  if (session.jsonl()) return absl::OkStatus();
  if (session.json()) return WriteJson(session.console, {{"datasets", std::move(list)}});
  return Write(session.console, RenderTable({"DATASET", "SIZE", "NAME"}, rows));
}

absl::Status RunUpload(Session& session, const std::vector<std::string>& paths) {
  std::vector<v1::Dataset> datasets;
  for (const std::string& path : paths) {
    LFM2_ASSIGN_OR_RETURN(const std::vector<LocalFile> files, DataFiles(path));
    for (const LocalFile& file : files) {
      LFM2_ASSIGN_OR_RETURN(v1::Dataset dataset, UploadFile(session, file));
      if (dataset.existed()) Remark(session.console, file.name + " was already stored");
      datasets.push_back(std::move(dataset));
    }
  }
  return Print(session, datasets);
}

absl::Status RunList(Session& session) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  v1::ListDatasetsRequest request;
  request.set_page_size(1000);
  std::vector<v1::Dataset> datasets;
  do {
    LFM2_ASSIGN_OR_RETURN(
        const v1::ListDatasetsResponse page,
        client->Call(client->training(), &v1::Training::Stub::ListDatasets, request));
    datasets.insert(datasets.end(), page.datasets().begin(), page.datasets().end());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  return Print(session, datasets);
}

}  // namespace

void AddDataset(CLI::App& app, Session& session) {
  CLI::App* dataset = app.add_subcommand("dataset", "Uploaded files");
  dataset->require_subcommand(1);
  CLI::App* upload =
      dataset->add_subcommand("upload", "Upload files; the same content is stored once");
  const auto paths = std::make_shared<std::vector<std::string>>();
  TextsFlag(*upload, "FILE", "Files, or folders of .txt, .jsonl and .ndjson",
            [paths](const std::string& v) { paths->push_back(v); })
      ->required()
      ->expected(1, 1 << 20)
      ->allow_extra_args();
  upload->callback([&session, paths] {
    session.action = [&session, paths] { return RunUpload(session, *paths); };
  });
  dataset->add_subcommand("list", "All uploaded datasets")->callback([&session] {
    session.action = [&session] { return RunList(session); };
  });
}

}  // namespace lfm2
