#include "client/flags/model_flags.h"

#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "client/flags/flags.h"
#include "client/flags/source.h"

namespace lfm2 {

void AddShapeFlags(CLI::App& app, v1::ModelShape& shape) {
  const auto grouped = [](CLI::Option* option) { option->group("Model"); };
  grouped(TextFlag(app, "--arch,--architecture", "lfm2, hybrid or llama",
                   [&](const std::string& v) { shape.set_architecture(v); }));
  const auto integer = [&](const char* names, const char* help, auto set) {
    grouped(IntFlag(app, names, help, [&shape, set](int64_t v) { (shape.*set)(v); }));
  };
  using S = v1::ModelShape;
  integer("--vocab_size", "Vocabulary ids", &S::set_vocab_size);
  integer("--d_model", "Width of the hidden state", &S::set_d_model);
  integer("--n_layers", "Layers", &S::set_n_layers);
  integer("--n_heads", "Query heads of attention", &S::set_n_heads);
  integer("--n_kv_heads", "Key and value heads; must divide n_heads", &S::set_n_kv_heads);
  integer("--intermediate_size", "Width of the feed-forward layer", &S::set_intermediate_size);
  integer("--ssm_state_size", "SSM state size per channel", &S::set_ssm_state_size);
  integer("--attn_every", "Attention in every Nth layer; 0: none", &S::set_attn_every);
  integer("--conv_kernel", "Taps of the short convolution", &S::set_conv_kernel);
  grouped(SwitchFlag(app, "parallel_residual",
                     "SSM and MLP in parallel instead of one after the other",
                     [&](bool v) { shape.set_parallel_residual(v); }));
  grouped(SwitchFlag(app, "tie_word_embeddings", "Use one matrix for embedding and output head",
                     [&](bool v) { shape.set_tie_word_embeddings(v); }));
  grouped(NumberFlag(app, "--rope_theta", "Base of the rotary embedding",
                     [&](double v) { shape.set_rope_theta(v); }));
  grouped(NumberFlag(app, "--norm_eps", "Epsilon of RMSNorm",
                     [&](double v) { shape.set_norm_eps(v); }));
}

void AddTrainOptionFlags(CLI::App& app, v1::TrainOptions& options) {
  using O = v1::TrainOptions;
  const auto grouped = [](CLI::Option* option) { option->group("Training"); };
  const auto integer = [&](const char* names, const char* help, auto set) {
    grouped(IntFlag(app, names, help, [&options, set](int64_t v) { (options.*set)(v); }));
  };
  const auto number = [&](const char* names, const char* help, auto set) {
    grouped(NumberFlag(app, names, help, [&options, set](double v) { (options.*set)(v); }));
  };
  integer("--steps", "Optimizer steps [200]", &O::set_steps);
  integer("--batch_size", "Sequences per micro-batch [4]", &O::set_batch_size);
  integer("--seq_len", "Tokens per sequence [128]", &O::set_seq_len);
  integer("--grad_accumulation", "Micro-batches per step [1]", &O::set_grad_accumulation);
  number("--lr", "Learning rate [3e-4]", &O::set_lr);
  number("--min_lr_ratio", "Final learning rate as a share of the peak [0]", &O::set_min_lr_ratio);
  integer("--warmup_steps", "Steps of linear warm-up [0]", &O::set_warmup_steps);
  number("--wsd_decay_ratio", "Share of the steps in which the wsd schedule decays [0.2]",
         &O::set_wsd_decay_ratio);
  grouped(TextFlag(app, "--schedule", "constant, linear, cosine or wsd [constant]",
                   [&](const std::string& v) {
                     options.set_schedule(v == "linear"   ? v1::LR_SCHEDULE_LINEAR
                                          : v == "cosine" ? v1::LR_SCHEDULE_COSINE
                                          : v == "wsd"    ? v1::LR_SCHEDULE_WSD
                                                          : v1::LR_SCHEDULE_CONSTANT);
                   })
              ->check(CLI::IsMember({"constant", "linear", "cosine", "wsd"})));
  number("--weight_decay", "AdamW's weight decay [0.1]", &O::set_weight_decay);
  number("--beta1", "AdamW's decay of the first moment [0.9]", &O::set_beta1);
  number("--beta2", "AdamW's decay of the second moment [0.95]", &O::set_beta2);
  number("--epsilon", "AdamW's epsilon [1e-8]", &O::set_epsilon);
  number("--clip_norm", "Largest gradient norm; 0: off [1]", &O::set_clip_norm);
  number("--eval_ratio", "Share of the tokens held out for evaluation [0]", &O::set_eval_ratio);
  integer("--eval_every", "Steps between evaluations [50]", &O::set_eval_every);
  integer("--checkpoint_every", "Steps between checkpoints [50]", &O::set_checkpoint_every);
  integer("--keep_checkpoints", "Checkpoints kept [2]", &O::set_keep_checkpoints);
  integer("--seed", "Seed of fresh weights and of the order of the data [0]", &O::set_seed);
  grouped(TextFlag(app, "--dtype", "auto, float32 or bfloat16 [auto]",
                   [&](const std::string& v) { options.set_dtype(v); }));
  grouped(TextFlag(app, "--device", "auto, cpu, cuda or cuda:N [the daemon's]",
                   [&](const std::string& v) { options.set_device(v); }));
  integer("--threads", "CPU threads; 0: one per core [0]", &O::set_threads);
}

namespace {

std::pair<int32_t, double> ParseBias(const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits('=', 1));
  int32_t id = 0;
  double bias = 0;
  if (!absl::SimpleAtoi(parts.first, &id) || !absl::SimpleAtod(parts.second, &bias)) {
    throw CLI::ValidationError("--logit_bias", "\"" + text + "\" is not ID=BIAS, such as 42=-100");
  }
  return {id, bias};
}

}  // namespace

void AddSamplingFlags(CLI::App& app, v1::GenerateRequest& request) {
  const auto sampling = [&request] { return request.mutable_sampling(); };
  const auto number = [&](const char* names, const char* help, auto set) {
    NumberFlag(app, names, help, [sampling, set](double v) {
      (sampling()->*set)(v);
    })->group("Sampling");
  };
  using S = v1::SamplingOptions;
  number("--temperature", "0: greedy [0]", &S::set_temperature);
  IntFlag(app, "--top_k", "Sample only from the k likeliest tokens; 0: off [0]",
          [sampling](int64_t v) { sampling()->set_top_k(v); })
      ->group("Sampling");
  number("--top_p", "Sample from the likeliest tokens that reach this total probability [1]",
         &S::set_top_p);
  number("--min_p", "Least probability of a token, as a share of the likeliest one's [0]",
         &S::set_min_p);
  number("--repetition_penalty", "Over 1: earlier tokens become less likely [1]",
         &S::set_repetition_penalty);
  number("--presence_penalty", "Subtracted from the logit of each generated token, -2 to 2 [0]",
         &S::set_presence_penalty);
  number("--frequency_penalty", "Subtracted once for each time that it was generated, -2 to 2 [0]",
         &S::set_frequency_penalty);
  TextsFlag(app, "--logit_bias", "ID=BIAS added to a token's logit, -100 to 100; may be repeated",
            [sampling](const std::string& v) {
              const auto [id, bias] = ParseBias(v);
              (*sampling()->mutable_logit_bias())[id] = bias;
            })
      ->group("Sampling");
  UintFlag(app, "--seed", "Seed of sampling [chosen by the server]", [sampling](uint64_t v) {
    sampling()->set_seed(v);
  })->group("Sampling");
  IntFlag(app, "--max_new_tokens", "Most tokens to generate",
          [&request](int64_t v) { request.set_max_new_tokens(v); });
  TextsFlag(app, "--stop", "Text that ends the answer; may be repeated",
            [&request](const std::string& v) { request.add_stop(v); });
  IdsFlag(app, "--stop_ids", "Tokens that end the answer", [&request](std::vector<int32_t> ids) {
    request.mutable_stop_ids()->Assign(ids.begin(), ids.end());
  });
  IntFlag(
      app, "--logprobs", "Print log-probabilities: of each token and the N likeliest (N: 0 to 20)",
      [&request](int64_t v) {
        request.set_logprobs(static_cast<int32_t>(std::clamp<int64_t>(v, INT32_MIN, INT32_MAX)));
      });
  TextFlag(app, "--priority",
           "low, normal or high: higher starts first when requests wait [normal]",
           [&request](const std::string& v) {
             request.set_priority(v == "low"    ? v1::PRIORITY_LOW
                                  : v == "high" ? v1::PRIORITY_HIGH
                                                : v1::PRIORITY_NORMAL);
           })
      ->check(CLI::IsMember({"low", "normal", "high"}));
  SwitchFlag(app, "prefix_cache", "Reuse and store computed prompt prefixes [on]",
             [&request](bool v) { request.set_use_prefix_cache(v); });
  SwitchFlag(app, "ignore_eos", "Continue after the end-of-text token",
             [&request](bool v) { request.set_ignore_eos(v); });
}

void AddModelFlag(CLI::App& app, v1::ModelRef& model) {
  TextFlag(
      app, "-m,--model,--load_path",
      "NAME, NAME@vN, or hf:ORG/NAME of the server's Hugging Face cache [the server's default]",
      [&model](const std::string& v) { model.set_name(ModelReference(v)); });
}

void AddLocalFlag(CLI::App& app) {
  app.add_flag_callback(
      "--local", [] {}, "Use only the local Hugging Face cache (this is always the case)");
}

}  // namespace lfm2
