// lfm2ctl chat
#include <istream>
#include <memory>
#include <ostream>

#include "base/status_macros.h"
#include "client/calls/generate_view.h"
#include "client/calls/model_claims.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/flags/structure_flags.h"
#include "client/flags/tools_flag.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct Flags {
  v1::GenerateRequest request;
  v1::ModelRef model;
  ModelClaims claims;
  std::string system;
  std::optional<std::string> tools;
  StructureInput structure;
};

void AddMessage(v1::GenerateRequest& request, const char* role, const std::string& content) {
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role(role);
  message->set_content(content);
}

// The question is kept in the history only when it was answered.
absl::Status Ask(Session& session, v1::GenerateRequest& request, const std::string& question) {
  if (!IsValidUtf8(question)) return Error(Reason::kInvalidUtf8, "the message is not UTF-8");
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  AddMessage(request, "user", question);
  GenerateView view(session);
  absl::Status status =
      client->Stream<v1::Generation::Stub, v1::GenerateRequest, v1::GenerateResponse>(
          client->generation(), &v1::Generation::Stub::Generate, request,
          [&view](const v1::GenerateResponse& event) { return view.OnEvent(event); });
  if (!status.ok() && !session.interrupts.raised()) {
    request.mutable_chat()->mutable_messages()->RemoveLast();
    return status;
  }
  LFM2_RETURN_IF_ERROR(view.Finish());
  if (session.table() && !session.console.out_is_terminal)
    LFM2_RETURN_IF_ERROR(Write(session.console, "\n"));
  AddMessage(request, "assistant", view.text());
  *request.mutable_chat()->mutable_messages()->rbegin()->mutable_tool_calls() =
      view.end().tool_calls();
  return status;
}

absl::Status Run(Session& session, Flags& flags) {
  LFM2_RETURN_IF_ERROR(SetStructure(flags.structure, flags.request));
  LFM2_RETURN_IF_ERROR(CheckClaims(session, flags.model, flags.claims));
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  LFM2_RETURN_IF_ERROR(SetTools(flags.tools, *flags.request.mutable_chat()));
  const auto reset = [&flags] {
    flags.request.mutable_chat()->clear_messages();
    if (!flags.system.empty()) AddMessage(flags.request, "system", flags.system);
  };
  reset();
  Console& console = session.console;
  const bool prompts = console.in_is_terminal && console.err_is_terminal;
  if (prompts) Remark(console, "/reset forgets the conversation, /exit ends it");
  std::string line;
  while (true) {
    if (prompts) console.err << "> " << std::flush;
    if (!std::getline(console.in, line) || line == "/exit") return absl::OkStatus();
    if (line.empty()) continue;
    if (line == "/reset") {
      reset();
      continue;
    }
    absl::Status status = Ask(session, flags.request, line);
    if (status.ok()) continue;
    if (!prompts || session.interrupts.raised() || IsOutputClosed(status)) return status;
    console.err << RenderFailure(FailureOf(status), console) << std::flush;
  }
}

}  // namespace

void AddChat(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand(
      "chat", "Talk with a model: each line is a message, the history is kept; /exit ends");
  const auto flags = std::make_shared<Flags>();
  AddModelFlag(*verb, flags->model);
  TextFlag(*verb, "--system", "The system message",
           [flags](const std::string& v) { flags->system = v; });
  AddToolsFlag(*verb, flags->tools);
  AddSamplingFlags(*verb, flags->request);
  AddStructureFlags(*verb, flags->structure);
  AddClaimFlags(*verb, flags->claims);
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
