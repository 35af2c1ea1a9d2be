// lfm2ctl tokenize and detokenize
#include <memory>

#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "client/calls/jsonl.h"
#include "client/flags/flags.h"
#include "client/flags/model_flags.h"
#include "client/terminal/proto_json.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct TokenizeFlags {
  v1::TokenizeRequest request;
  v1::ModelRef model;
  TextInput text;
  bool jsonl = false;
};

struct DetokenizeFlags {
  v1::DetokenizeRequest request;
  v1::ModelRef model;
  std::optional<std::vector<int32_t>> ids;
  bool jsonl = false;
};

absl::StatusOr<v1::TokenizeResponse> Tokenize(Session& session, v1::TokenizeRequest request,
                                              std::string text) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  if (IsValidUtf8(text)) {
    request.set_text(std::move(text));
  } else {
    request.set_text_bytes(std::move(text));
  }
  return client->Call(client->generation(), &v1::Generation::Stub::Tokenize, request);
}

absl::Status RunTokenize(Session& session, TokenizeFlags& flags) {
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  if (flags.jsonl) {
    return ForEachLine(session, [&](const Json& line) -> absl::StatusOr<Json> {
      LFM2_ASSIGN_OR_RETURN(std::string text, TextField(line, "text"));
      LFM2_ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                            Tokenize(session, flags.request, std::move(text)));
      return Json{{"ids", ProtoToJson(response)["ids"]}};
    });
  }
  LFM2_ASSIGN_OR_RETURN(std::string text, ReadText(session, flags.text));
  LFM2_ASSIGN_OR_RETURN(const v1::TokenizeResponse response,
                        Tokenize(session, flags.request, std::move(text)));
  if (!session.table()) return WriteJson(session.console, ProtoToJson(response));
  return WriteLine(session.console, absl::StrJoin(response.ids(), ","));
}

absl::StatusOr<std::string> Detokenize(Session& session, v1::DetokenizeRequest request,
                                       const std::vector<int32_t>& ids) {
  LFM2_ASSIGN_OR_RETURN(Client * client, session.Connect());
  request.mutable_ids()->Assign(ids.begin(), ids.end());
  LFM2_ASSIGN_OR_RETURN(
      const v1::DetokenizeResponse response,
      client->Call(client->generation(), &v1::Generation::Stub::Detokenize, request));
  return response.text();
}

absl::Status RunDetokenize(Session& session, DetokenizeFlags& flags) {
  if (!flags.model.name().empty()) *flags.request.mutable_model() = flags.model;
  if (flags.jsonl) {
    return ForEachLine(session, [&](const Json& line) -> absl::StatusOr<Json> {
      LFM2_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, IdsField(line, "ids"));
      LFM2_ASSIGN_OR_RETURN(const std::string text, Detokenize(session, flags.request, ids));
      return Json{{"text", text}};
    });
  }
  if (!flags.ids) {
    LFM2_ASSIGN_OR_RETURN(const std::string input, ReadText(session, {}));
    const absl::StatusOr<std::vector<int32_t>> ids = ParseIds(input);
    if (!ids.ok()) return Annotate(ids.status(), "stdin");
    flags.ids = *ids;
  }
  LFM2_ASSIGN_OR_RETURN(const std::string text, Detokenize(session, flags.request, *flags.ids));
  if (!session.table()) return WriteJson(session.console, {{"text", text}});
  return Write(session.console, session.console.out_is_terminal ? text + "\n" : text);
}

}  // namespace

void AddTokenize(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand("tokenize", "Text to token ids");
  const auto flags = std::make_shared<TokenizeFlags>();
  AddModelFlag(*verb, flags->model);
  TextFlag(*verb, "--text,--prompt", "The text; - or no text at all reads stdin",
           [flags](const std::string& v) { flags->text.text = v; });
  TextFlag(*verb, "-f,--file", "File with the text",
           [flags](const std::string& v) { flags->text.file = v; });
  verb->add_flag("--jsonl", flags->jsonl, "Lines {\"text\"} on stdin to lines {\"ids\"} on stdout");
  SwitchFlag(*verb, "special", "Add special tokens such as BOS [on]",
             [flags](bool v) { flags->request.set_add_special(v); });
  SwitchFlag(*verb, "allow_special", "Parse special tokens in the text [off]",
             [flags](bool v) { flags->request.set_parse_special(v); });
  verb->callback([&session, flags] {
    session.action = [&session, flags] { return RunTokenize(session, *flags); };
  });
}

void AddDetokenize(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand("detokenize", "Token ids to text");
  const auto flags = std::make_shared<DetokenizeFlags>();
  AddModelFlag(*verb, flags->model);
  IdsFlag(*verb, "--tokens,--ids,--prompt_ids", "The ids; without them they are read from stdin",
          [flags](std::vector<int32_t> ids) { flags->ids = std::move(ids); });
  verb->add_flag("--jsonl", flags->jsonl, "Lines {\"ids\"} on stdin to lines {\"text\"} on stdout");
  SwitchFlag(*verb, "special", "Show special tokens [off]",
             [flags](bool v) { flags->request.set_skip_special(!v); });
  verb->callback([&session, flags] {
    session.action = [&session, flags] { return RunDetokenize(session, *flags); };
  });
}

}  // namespace lfm2
