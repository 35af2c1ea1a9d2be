// lfm2ctl errors: the table of reasons. docs/errors.md is `lfm2ctl errors --markdown`.
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "client/terminal/failure.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

constexpr char kHead[] =
    "# Errors\n\nMade by `lfm2ctl errors --markdown` from the table in `base/errors.cc`. "
    "Every "
    "failed call carries its reason in\n`google.rpc.ErrorInfo` (domain `lfm2.v1`); `exit` is the "
    "exit code of `lfm2ctl`.\n\n"
    "| reason | gRPC code | exit | meaning | fix |\n|---|---|---|---|---|\n";

std::string Markdown() {
  std::string text = kHead;
  for (const ReasonSpec& spec : AllReasons()) {
    absl::StrAppend(&text, "| `", spec.name, "` | ", CodeName(spec.code), " | ",
                    ExitCodeOf(spec.code), " | ", spec.meaning, " | ", spec.fix, " |\n");
  }
  return text;
}

absl::Status Run(Session& session, bool markdown) {
  if (markdown) return Write(session.console, Markdown());
  std::vector<Row> rows;
  Json list = Json::array();
  for (const ReasonSpec& spec : AllReasons()) {
    const int exit_code = ExitCodeOf(spec.code);
    const Json entry = {{"reason", spec.name},
                        {"code", CodeName(spec.code)},
                        {"exit_code", exit_code},
                        {"meaning", spec.meaning},
                        {"fix", spec.fix}};
    if (session.jsonl()) LFM2_RETURN_IF_ERROR(WriteJson(session.console, entry));
    list.push_back(entry);
    rows.push_back(
        {spec.name, CodeName(spec.code), std::to_string(exit_code), spec.meaning, spec.fix});
  }
  if (session.jsonl()) return absl::OkStatus();
  if (session.json()) return WriteJson(session.console, {{"errors", std::move(list)}});
  return Write(session.console, RenderTable({"REASON", "CODE", "EXIT", "MEANING", "FIX"}, rows));
}

}  // namespace

void AddErrors(CLI::App& app, Session& session) {
  CLI::App* verb =
      app.add_subcommand("errors", "Every reason an error can have, with its exit code");
  const auto markdown = std::make_shared<bool>(false);
  verb->add_flag("--markdown", *markdown, "Print as the page docs/errors.md");
  verb->callback([&session, markdown] {
    session.action = [&session, markdown] { return Run(session, *markdown); };
  });
}

}  // namespace lfm2
