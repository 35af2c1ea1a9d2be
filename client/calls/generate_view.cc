#include "client/calls/generate_view.h"

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "client/terminal/proto_json.h"

namespace lfm2 {
namespace {

Json LogprobJson(const v1::GenerateToken& token) {
  Json top = Json::array();
  for (const v1::TokenLogprob& other : token.top()) {
    top.push_back({{"id", other.id()}, {"token", other.token()}, {"logprob", other.logprob()}});
  }
  return {{"id", token.id()}, {"logprob", token.logprob()}, {"top", std::move(top)}};
}

Json EventJson(const v1::GenerateResponse& event) {
  Json json = Json::object();
  const auto add = [&json](const char* type, const google::protobuf::Message& fields) {
    json["type"] = type;
    json.update(ProtoToJson(fields));
  };
  if (event.has_start()) add("start", event.start());
  if (event.has_token()) add("token", event.token());
  if (event.has_end()) add("end", event.end());
  return json;
}

}  // namespace

absl::Status GenerateView::AddText(const std::string& text) {
  text_ += text;
  return session_.table() && !text.empty() ? Write(session_.console, text) : absl::OkStatus();
}

void GenerateView::AddToken(const v1::GenerateToken& token) {
  token_ids_.push_back(token.id());
  if (token.has_logprob()) logprobs_.push_back(LogprobJson(token));
}

absl::Status GenerateView::OnEvent(const v1::GenerateResponse& event) {
  if (session_.jsonl()) LFM2_RETURN_IF_ERROR(WriteJson(session_.console, EventJson(event)));
  if (event.has_start()) start_ = event.start();
  if (event.has_token()) {
    AddToken(event.token());
    return AddText(event.token().text());
  }
  if (!event.has_end()) return absl::OkStatus();
  ended_ = true;
  end_ = event.end();
  LFM2_RETURN_IF_ERROR(AddText(end_.text()));
  return session_.table() ? WriteToolCalls() : absl::OkStatus();
}

// One line for each call, written as in a program.
absl::Status GenerateView::WriteToolCalls() const {
  bool begins = text_.empty();
  for (const v1::ToolCall& call : end_.tool_calls()) {
    LFM2_RETURN_IF_ERROR(
        Write(session_.console, (begins ? "" : "\n") + call.name() + "(" + call.arguments() + ")"));
    begins = false;
  }
  return absl::OkStatus();
}

Json GenerateView::Result() const {
  Json usage = {{"prompt_tokens", start_.prompt_tokens()},
                {"completion_tokens", token_ids_.size()}};
  if (ended_) usage = ProtoToJson(end_.usage());
  Json result = {{"text", text_},
                 {"token_ids", token_ids_},
                 {"finish_reason", ended_ ? EnumWord(end_.finish_reason()) : "cancelled"},
                 {"usage", std::move(usage)},
                 {"timings", ProtoToJson(end_.timings())},
                 {"model", start_.model()},
                 {"version", start_.version()},
                 {"request_id", start_.request_id()},
                 {"sampling", ProtoToJson(start_.sampling())}};
  if (!end_.stop().empty()) result["stop"] = end_.stop();
  for (const v1::ToolCall& call : end_.tool_calls()) {
    result["tool_calls"].push_back({{"name", call.name()}, {"arguments", call.arguments()}});
  }
  if (end_.malformed_tool_call()) result["malformed_tool_call"] = true;
  if (!logprobs_.empty()) result["logprobs"] = logprobs_;
  return result;
}

std::string GenerateView::Summary() const {
  if (!ended_) return absl::StrFormat("cancelled after %d tokens", token_ids_.size());
  return absl::StrFormat("%s: %d + %d tokens, first after %.0f ms, %.1f tokens/s, %s@%s",
                         EnumWord(end_.finish_reason()), end_.usage().prompt_tokens(),
                         end_.usage().completion_tokens(), end_.timings().time_to_first_token_ms(),
                         end_.timings().tokens_per_second(), start_.model(), start_.version());
}

absl::Status GenerateView::Finish() {
  if (session_.json()) return WriteJson(session_.console, Result());
  if (!session_.table()) return absl::OkStatus();
  if (session_.console.out_is_terminal) LFM2_RETURN_IF_ERROR(Write(session_.console, "\n"));
  if (session_.console.ShowsProgress()) Remark(session_.console, Summary());
  return absl::OkStatus();
}

}  // namespace lfm2
