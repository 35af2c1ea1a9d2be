// lfm2ctl generate
#include <memory>

#include "absl/strings/match.h"
#include "base/status_macros.h"
#include "client/calls/generate_view.h"
#include "client/calls/init_model.h"
#include "client/calls/jsonl.h"
#include "client/calls/model_claims.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/flags/source.h"
#include "client/flags/structure_flags.h"
#include "client/flags/tools_flag.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct Flags {
  v1::GenerateRequest request;
  v1::ModelRef model;
  ModelClaims claims;
  std::string init_from;
  TextInput prompt;
  std::optional<std::vector<int32_t>> prompt_ids;
  std::vector<std::string> chat;  // "ROLE:TEXT"
  std::optional<std::string> tools;
  StructureInput structure;
};

absl::Status AddChatMessage(const std::string& text, v1::ChatMessages& messages) {
  for (const char* role : {"system", "user", "assistant", "tool"}) {
    const std::string prefix = std::string(role) + ":";
    if (!absl::StartsWith(text, prefix)) continue;
    std::string content = text.substr(prefix.size());
    if (absl::StartsWith(content, " ")) content.erase(0, 1);
    if (!IsValidUtf8(content))
      return Error(Reason::kInvalidUtf8, "--chat: the message is not UTF-8");
    v1::ChatMessage* message = messages.add_messages();
    message->set_role(role);
    message->set_content(content);
    return absl::OkStatus();
  }
  return UsageError("--chat is \"" + text +
                    "\": ROLE:TEXT is needed, with system, user, assistant or tool");
}

absl::Status SetPrompt(Session& session, Flags& flags) {
  const bool text = flags.prompt.text || flags.prompt.file;
  if (text + flags.prompt_ids.has_value() + !flags.chat.empty() > 1) {
    return UsageError("--prompt, --prompt_ids and --chat exclude each other");
  }
  if (flags.tools && flags.chat.empty()) return UsageError("--tools needs --chat");
  if (flags.prompt_ids) {
    flags.request.mutable_tokens()->mutable_ids()->Assign(flags.prompt_ids->begin(),
                                                          flags.prompt_ids->end());
    return absl::OkStatus();
  }
  if (!flags.chat.empty()) {
    for (const std::string& message : flags.chat) {
      LFM2_RETURN_IF_ERROR(AddChatMessage(message, *flags.request.mutable_chat()));
    }
    return SetTools(flags.tools, *flags.request.mutable_chat());
  }
  LFM2_ASSIGN_OR_RETURN(std::string prompt, ReadText(session, flags.prompt));
  if (IsValidUtf8(prompt)) {
    flags.request.set_text(std::move(prompt));
  } else {
    flags.request.set_text_bytes(std::move(prompt));
  }
  return absl::OkStatus();
}

absl::Status ChooseModel(Session& session, Flags& flags) {
  if (flags.init_from.empty()) {
    LFM2_RETURN_IF_ERROR(CheckClaims(session, flags.model, flags.claims));
  } else if (!flags.model.name().empty()) {
    return UsageError("--model and --init_from exclude each other");
  } else {
    LFM2_ASSIGN_OR_RETURN(
        *flags.model.mutable_name(),
        FindOrInitModel(session, {flags.init_from, flags.claims.tokenizer, flags.claims.shape}));
  }
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  return absl::OkStatus();
}

absl::Status Run(Session& session, Flags& flags) {
  for (const std::string& stop : flags.request.stop()) {
    if (!IsValidUtf8(stop)) return Error(Reason::kInvalidUtf8, "--stop is not UTF-8");
  }
  LFM2_RETURN_IF_ERROR(SetStructure(flags.structure, flags.request));
  LFM2_RETURN_IF_ERROR(SetPrompt(session, flags));
  LFM2_RETURN_IF_ERROR(ChooseModel(session, flags));
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  GenerateView view(session);
  absl::Status status =
      client->Stream<v1::Generation::Stub, v1::GenerateRequest, v1::GenerateResponse>(
          client->generation(), &v1::Generation::Stub::Generate, flags.request,
          [&view](const v1::GenerateResponse& event) { return view.OnEvent(event); });
  if (!status.ok() && !session.interrupts.raised()) {
    if (session.table() && session.console.out_is_terminal && !view.text().empty()) {
      LFM2_RETURN_IF_ERROR(Write(session.console, "\n"));
    }
    return status;
  }
  LFM2_RETURN_IF_ERROR(view.Finish());
  if (status.ok() && !view.ended())
    return Error(Reason::kInternal, "the server's answer ended without its last event");
  return status;
}

}  // namespace

void AddGenerate(CLI::App& app, Session& session) {
  CLI::App* verb =
      app.add_subcommand("generate", "Continue a prompt; prints the text as it is generated");
  const auto flags = std::make_shared<Flags>();
  AddModelFlag(*verb, flags->model);
  TextFlag(*verb, "-p,--prompt", "The prompt; - or no prompt at all reads stdin",
           [flags](const std::string& v) { flags->prompt.text = v; });
  TextFlag(*verb, "-f,--prompt_file", "File with the prompt; - is stdin",
           [flags](const std::string& v) { flags->prompt.file = v; });
  flags->prompt.file_flag = "--prompt_file";
  IdsFlag(*verb, "--prompt_ids,--tokens", "The prompt as token ids; nothing is added to them",
          [flags](std::vector<int32_t> ids) { flags->prompt_ids = std::move(ids); });
  TextsFlag(*verb, "--chat", "ROLE:TEXT, a message for the model's chat template; may be repeated",
            [flags](const std::string& v) { flags->chat.push_back(v); });
  AddToolsFlag(*verb, flags->tools);
  TextFlag(*verb, "--init_from,--from,--src",
           std::string(
               "Generate with a model made from all that fits in this source, without training: ") +
               kSourceHelp,
           [flags](const std::string& v) { flags->init_from = v; });
  AddSamplingFlags(*verb, flags->request);
  AddStructureFlags(*verb, flags->structure);
  SwitchFlag(*verb, "special", "Add special tokens such as BOS before the prompt [on]",
             [flags](bool v) { flags->request.set_add_special(v); });
  SwitchFlag(*verb, "allow_special", "Parse special tokens in the prompt's text [off]",
             [flags](bool v) { flags->request.set_parse_special(v); });
  TextFlag(*verb, "--request_id", "Id of the call in logs and errors",
           [flags](const std::string& v) { flags->request.set_request_id(v); });
  AddLocalFlag(*verb);
  AddClaimFlags(*verb, flags->claims);
  verb->callback(
      [&session, flags] { session.action = [&session, flags] { return Run(session, *flags); }; });
}

}  // namespace lfm2
