// lfm2ctl export
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "client/calls/export_writer.h"
#include "client/calls/model_claims.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/terminal/progress.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct Flags {
  v1::ExportRequest request;
  v1::ModelRef model;
  ModelClaims claims;
  std::string format, out, meta;
};

absl::StatusOr<ExportTarget> SetFormat(Flags& flags) {
  if (flags.format.empty())
    flags.format = absl::EndsWith(flags.out, ".npz") ? "npz" : "safetensors";
  ExportTarget target;
  if (flags.format == "safetensors") {
    if (!flags.meta.empty()) return UsageError("--meta belongs to --format npz");
    flags.request.set_format(v1::EXPORT_FORMAT_SAFETENSORS);
    target.folder = flags.out;
    return target;
  }
  flags.request.set_format(v1::EXPORT_FORMAT_NPZ);
  target.npz = flags.out;
  target.meta = flags.meta.empty() ? std::filesystem::path(flags.out).replace_extension(".json")
                                   : std::filesystem::path(flags.meta);
  return target;
}

absl::Status Print(Session& session, const ExportWriter& writer) {
  Json list = Json::array();
  std::vector<Row> rows;
  for (const WrittenFile& file : writer.files()) {
    const std::string path = file.path.string();
    list.push_back(
        {{"name", file.name}, {"path", path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
    rows.push_back({path.empty() ? "(not written) " + file.name : path,
                    FormatBytes(static_cast<double>(file.bytes)), file.sha256});
  }
  if (!session.table()) return WriteJson(session.console, {{"files", std::move(list)}});
  return Write(session.console, RenderTable({"FILE", "SIZE", "SHA256"}, rows));
}

absl::Status OnEvent(const v1::ExportResponse& event, ExportWriter& writer, StatusLine& line) {
  switch (event.event_case()) {
    case v1::ExportResponse::kProgress:
      line.Show(absl::StrFormat("export: %d of %d %s", event.progress().done(),
                                event.progress().total(), event.progress().what()));
      return absl::OkStatus();
    case v1::ExportResponse::kFile:
      return writer.OnFile(event.file());
    case v1::ExportResponse::kChunk:
      LFM2_RETURN_IF_ERROR(writer.OnChunk(event.chunk()));
      line.Show("export: " + writer.files().back().name + " " +
                FormatBytes(static_cast<double>(writer.files().back().bytes)));
      return absl::OkStatus();
    case v1::ExportResponse::kDone:
      return writer.OnDone(event.done());
    default:
      return absl::OkStatus();
  }
}

absl::Status Run(Session& session, Flags& flags) {
  LFM2_ASSIGN_OR_RETURN(const ExportTarget target, SetFormat(flags));
  ExportWriter writer(target);
  LFM2_RETURN_IF_ERROR(writer.Prepare());
  LFM2_RETURN_IF_ERROR(CheckClaims(session, flags.model, flags.claims));
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  if (flags.request.request_id().empty()) flags.request.set_request_id("ctl-" + RandomId());
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  const Interrupts::Scope until_cleaned_up(session.interrupts);
  {
    StatusLine line(session.console);
    LFM2_RETURN_IF_ERROR((client->Stream<v1::Models::Stub, v1::ExportRequest, v1::ExportResponse>(
        client->models(), &v1::Models::Stub::Export, flags.request,
        [&](const v1::ExportResponse& event) { return OnEvent(event, writer, line); })));
  }
  if (!writer.committed())
    return Error(Reason::kExportMismatch, "the export ended before its last message");
  return Print(session, writer);
}

}  // namespace

void AddExport(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand("export", "Write a model to local files, checked by SHA-256");
  const auto flags = std::make_shared<Flags>();
  AddModelFlag(*verb, flags->model);
  TextFlag(*verb, "--format", "npz or safetensors [npz when --out ends in .npz, else safetensors]",
           [flags](const std::string& v) { flags->format = v; })
      ->check(CLI::IsMember({"npz", "safetensors"}));
  TextFlag(*verb, "--out",
           "The .npz file, or the folder for safetensors; missing parent folders are created",
           [flags](const std::string& v) { flags->out = v; })
      ->required();
  TextFlag(*verb, "--meta", "The meta JSON file of an NPZ [beside it, ending in .json]",
           [flags](const std::string& v) { flags->meta = v; });
  TextFlag(*verb, "--request_id", "Repeating an id gives the same export [random]",
           [flags](const std::string& v) { flags->request.set_request_id(v); });
  AddLocalFlag(*verb);
  AddClaimFlags(*verb, flags->claims);
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
