#include "server/rpc/calls/convert_generate.h"

#include <algorithm>
#include <limits>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "model/grammar/grammar_check.h"
#include "server/rpc/calls/convert.h"

namespace lfm2 {
namespace {

constexpr int64_t kDefaultNewTokens = 256;

Prompt PromptOf(const v1::GenerateRequest& request, const Limits& limits, RequestCheck& check) {
  const EncodeOptions options = OptionsOf(request);
  switch (request.prompt_case()) {
    case v1::GenerateRequest::kText:
      return TextPrompt("text", request.text(), options, limits, check);
    case v1::GenerateRequest::kTextBytes:
      return TextPrompt("text_bytes", request.text_bytes(), options, limits, check);
    case v1::GenerateRequest::kTokens:
      return IdsPrompt(request.tokens(), check);
    case v1::GenerateRequest::kChat:
      return ChatPrompt(request.chat(), limits, check);
    case v1::GenerateRequest::PROMPT_NOT_SET:
      check.Add("prompt", "is not set", Reason::kPromptEmpty);
  }
  return {};
}

uint64_t DrawSeed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

// By ascending id.
std::vector<TokenBias> BiasesOf(const v1::SamplingOptions& in, const Limits& limits,
                                RequestCheck& check) {
  std::vector<TokenBias> biases;
  check.Count("sampling.logit_bias", in.logit_bias_size(), limits.logit_biases);
  if (in.logit_bias_size() > limits.logit_biases) return biases;
  for (const auto& [id, bias] : in.logit_bias()) biases.push_back({id, bias});
  std::sort(biases.begin(), biases.end(),
            [](const TokenBias& a, const TokenBias& b) { return a.id < b.id; });
  for (const TokenBias& one : biases) {
    check.Real(absl::StrCat("sampling.logit_bias[", one.id, "]"), one.bias,
               std::abs(one.bias) <= 100, "-100 to 100");
  }
  return biases;
}

SamplingParams SamplingOf(const v1::GenerateRequest& request, const Limits& limits,
                          RequestCheck& check) {
  const v1::SamplingOptions& in = request.sampling();
  SamplingParams out;
  if (in.has_temperature()) out.temperature = in.temperature();
  if (in.has_top_k()) out.top_k = in.top_k();
  if (in.has_top_p()) out.top_p = in.top_p();
  if (in.has_min_p()) out.min_p = in.min_p();
  if (in.has_repetition_penalty()) out.repetition_penalty = in.repetition_penalty();
  if (in.has_presence_penalty()) out.presence_penalty = in.presence_penalty();
  if (in.has_frequency_penalty()) out.frequency_penalty = in.frequency_penalty();
  out.seed = in.has_seed() ? in.seed() : DrawSeed();
  if (request.has_logprobs()) out.logprobs = request.logprobs();
  check.Real("sampling.temperature", out.temperature,
             out.temperature >= 0 && out.temperature <= 100, "0 to 100");
  check.Range("sampling.top_k", out.top_k, 0, std::numeric_limits<int32_t>::max());
  check.Real("sampling.top_p", out.top_p, out.top_p > 0 && out.top_p <= 1,
             "more than 0, at most 1");
  check.Real("sampling.min_p", out.min_p, out.min_p >= 0 && out.min_p <= 1, "0 to 1");
  check.Real("sampling.repetition_penalty", out.repetition_penalty,
             out.repetition_penalty > 0 && out.repetition_penalty <= 100,
             "more than 0, at most 100");
  check.Real("sampling.presence_penalty", out.presence_penalty, std::abs(out.presence_penalty) <= 2,
             "-2 to 2");
  check.Real("sampling.frequency_penalty", out.frequency_penalty,
             std::abs(out.frequency_penalty) <= 2, "-2 to 2");
  out.logit_bias = BiasesOf(in, limits, check);
  if (request.has_logprobs()) check.Range("logprobs", request.logprobs(), 0, limits.logprobs);
  return out;
}

void CheckStops(const v1::GenerateRequest& request, const Limits& limits, RequestCheck& check) {
  check.Count("stop", request.stop_size(), limits.stop_strings);
  check.Count("stop_ids", request.stop_ids_size(), limits.stop_ids);
  const int shown = std::min<int>(request.stop_size(), static_cast<int>(limits.stop_strings));
  for (int i = 0; i < shown; ++i) {
    const std::string field = absl::StrCat("stop[", i, "]");
    const auto bytes = static_cast<int64_t>(request.stop(i).size());
    if (bytes == 0) check.Add(field, "is empty");
    if (bytes > limits.stop_string_bytes) {
      check.Add(field, absl::StrCat("has ", bytes, " bytes, limit ", limits.stop_string_bytes));
    }
  }
}

std::vector<int32_t> IdsOf(const std::vector<TokenBias>& biases) {
  std::vector<int32_t> ids;
  ids.reserve(biases.size());
  for (const TokenBias& one : biases) ids.push_back(one.id);
  return ids;
}

int64_t NewTokens(const std::optional<int64_t>& wanted, int64_t prompt_tokens, int64_t context,
                  RequestCheck& check) {
  const int64_t room = std::max<int64_t>(context - prompt_tokens, 0);
  if (!wanted) return std::min(kDefaultNewTokens, room);
  if (*wanted > room && room > 0) {
    check.Add("max_new_tokens",
              absl::StrCat("is ", *wanted, ", and the prompt has ", prompt_tokens,
                           " tokens: together more than the context of ", context),
              Reason::kContextExceeded,
              {{"prompt_tokens", std::to_string(prompt_tokens)},
               {"max_new_tokens", std::to_string(*wanted)},
               {"limit", std::to_string(context)}});
  }
  return *wanted;
}

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos:
      return v1::FINISH_REASON_EOS;
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::PrefixMiss ToProto(PrefixMiss miss) {
  switch (miss) {
    case PrefixMiss::kNone:
      return v1::PREFIX_MISS_NONE;
    case PrefixMiss::kDisabled:
      return v1::PREFIX_MISS_DISABLED;
    case PrefixMiss::kEmpty:
      return v1::PREFIX_MISS_EMPTY;
    case PrefixMiss::kNoCommonPrefix:
      return v1::PREFIX_MISS_NO_COMMON_PREFIX;
    case PrefixMiss::kTooShort:
      return v1::PREFIX_MISS_TOO_SHORT;
    case PrefixMiss::kEvicted:
      return v1::PREFIX_MISS_EVICTED;
    case PrefixMiss::kUnsupported:
      return v1::PREFIX_MISS_UNSUPPORTED;
  }
  return v1::PREFIX_MISS_UNSPECIFIED;
}

std::optional<GrammarSource> StructureOf(const v1::GenerateRequest& request, const Limits& limits,
                                         RequestCheck& check) {
  GrammarSource source;
  switch (request.structure_case()) {
    case v1::GenerateRequest::kJsonSchema:
      source = {GrammarKind::kJsonSchema, request.json_schema()};
      break;
    case v1::GenerateRequest::kRegex:
      source = {GrammarKind::kRegex, request.regex()};
      break;
    case v1::GenerateRequest::kEbnf:
      source = {GrammarKind::kEbnf, request.ebnf()};
      break;
    case v1::GenerateRequest::STRUCTURE_NOT_SET:
      return std::nullopt;
  }
  const char* field = GrammarKindName(source.kind);
  check.Add(field, CheckGrammar(source, limits));
  if (request.ignore_eos()) check.Add("ignore_eos", absl::StrCat("excludes ", field));
  return source;
}

Priority PriorityOf(v1::Priority priority, RequestCheck& check) {
  switch (priority) {
    case v1::PRIORITY_LOW:
      return Priority::kLow;
    case v1::PRIORITY_HIGH:
      return Priority::kHigh;
    case v1::PRIORITY_UNSPECIFIED:
    case v1::PRIORITY_NORMAL:
      return Priority::kNormal;
    default:
      check.Range("priority", priority, v1::PRIORITY_UNSPECIFIED, v1::PRIORITY_HIGH);
      return Priority::kNormal;
  }
}

}  // namespace

absl::StatusOr<GenerateAsk> CheckGenerate(const v1::GenerateRequest& request,
                                          const Limits& limits) {
  RequestCheck check;
  GenerateAsk ask;
  CheckRequestId(request.request_id(), limits, check);
  CheckModelRef(request.model(), limits, check);
  ask.model = request.model();
  ask.prompt = PromptOf(request, limits, check);
  ask.sampling = SamplingOf(request, limits, check);
  if (request.has_max_new_tokens()) {
    ask.max_new_tokens = request.max_new_tokens();
    check.Range("max_new_tokens", request.max_new_tokens(), 1, std::numeric_limits<int32_t>::max());
  }
  CheckStops(request, limits, check);
  ask.stop.assign(request.stop().begin(), request.stop().end());
  ask.stop_ids.assign(request.stop_ids().begin(), request.stop_ids().end());
  ask.ignore_eos = request.ignore_eos();
  ask.priority = PriorityOf(request.priority(), check);
  if (request.has_use_prefix_cache()) ask.use_prefix_cache = request.use_prefix_cache();
  ask.structure = StructureOf(request, limits, check);
  ask.takes_tool_calls = request.has_tool_calls() ? request.tool_calls() : request.has_chat();
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  return ask;
}

absl::StatusOr<GenerateRequest> BindGenerate(GenerateAsk ask, std::shared_ptr<LoadedModel> model,
                                             int64_t default_context) {
  RequestCheck check;
  const int64_t context = ContextOf(*model, default_context);
  GenerateRequest out;
  LFM2_ASSIGN_OR_RETURN(out.prompt, EncodeFor(ask.prompt, *model, check));
  const auto tokens = static_cast<int64_t>(out.prompt.size());
  CheckPromptTokens(ask.prompt, tokens, context - 1, check);
  out.max_new_tokens = NewTokens(ask.max_new_tokens, tokens, context, check);
  CheckIds("stop_ids", ask.stop_ids, model->config.vocab_size, check);
  CheckIds("sampling.logit_bias", IdsOf(ask.sampling.logit_bias), model->config.vocab_size, check);
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  out.model = std::move(model);
  out.sampling = std::move(ask.sampling);
  out.stop = std::move(ask.stop);
  out.stop_ids = std::move(ask.stop_ids);
  out.ignore_eos = ask.ignore_eos;
  out.takes_tool_calls = ask.takes_tool_calls;
  out.priority = ask.priority;
  out.use_prefix_cache = ask.use_prefix_cache;
  return out;
}

v1::GenerateResponse StartMessage(const GenerateRequest& request) {
  v1::GenerateResponse out;
  v1::GenerateStart& start = *out.mutable_start();
  start.set_request_id(request.request_id);
  start.set_model(request.model->name);
  start.set_version(request.model->version);
  start.set_prompt_tokens(static_cast<int64_t>(request.prompt.size()));
  start.set_max_new_tokens(request.max_new_tokens);
  v1::SamplingOptions& sampling = *start.mutable_sampling();
  sampling.set_temperature(request.sampling.temperature);
  sampling.set_top_k(request.sampling.top_k);
  sampling.set_top_p(request.sampling.top_p);
  sampling.set_min_p(request.sampling.min_p);
  sampling.set_repetition_penalty(request.sampling.repetition_penalty);
  sampling.set_presence_penalty(request.sampling.presence_penalty);
  sampling.set_frequency_penalty(request.sampling.frequency_penalty);
  for (const TokenBias& one : request.sampling.logit_bias) {
    (*sampling.mutable_logit_bias())[one.id] = one.bias;
  }
  sampling.set_seed(request.sampling.seed);
  return out;
}

v1::GenerateResponse TokenMessage(const TokenEvent& event, const Tokenizer& tokenizer) {
  v1::GenerateResponse out;
  v1::GenerateToken& token = *out.mutable_token();
  token.set_index(event.index);
  token.set_id(event.id);
  token.set_text(event.text);
  if (event.logprob) token.set_logprob(*event.logprob);
  for (const TokenLogprob& likely : event.top) {
    v1::TokenLogprob& top = *token.add_top();
    top.set_id(likely.id);
    top.set_logprob(likely.logprob);
    top.set_token(tokenizer.TokenBytes(likely.id, false, false));
  }
  return out;
}

v1::GenerateResponse EndMessage(const GenerateEnd& end) {
  v1::GenerateResponse out;
  v1::GenerateEnd& message = *out.mutable_end();
  message.set_finish_reason(ToProto(end.finish_reason));
  v1::Usage& usage = *message.mutable_usage();
  usage.set_prompt_tokens(end.prompt_tokens);
  usage.set_completion_tokens(end.completion_tokens);
  usage.set_cached_tokens(end.reuse.cached_tokens);
  usage.set_replayed_tokens(end.reuse.replayed_tokens);
  usage.set_drafted_tokens(end.drafted_tokens);
  usage.set_accepted_tokens(end.accepted_tokens);
  usage.set_prefix_miss(ToProto(end.reuse.miss));
  v1::Timings& timings = *message.mutable_timings();
  timings.set_queue_ms(end.queue_ms);
  timings.set_prefill_ms(end.prefill_ms);
  timings.set_decode_ms(end.decode_ms);
  timings.set_time_to_first_token_ms(end.time_to_first_token_ms);
  if (end.decode_ms > 0 && end.completion_tokens > 1) {
    timings.set_tokens_per_second(static_cast<double>(end.completion_tokens - 1) * 1000 /
                                  end.decode_ms);
  }
  message.set_text(end.text);
  message.set_stop(end.stop);
  for (const ToolCall& call : end.tool_calls) {
    v1::ToolCall& out_call = *message.add_tool_calls();
    out_call.set_name(call.name);
    out_call.set_arguments(call.arguments);
  }
  message.set_malformed_tool_call(end.malformed_tool_call);
  return out;
}

}  // namespace lfm2
