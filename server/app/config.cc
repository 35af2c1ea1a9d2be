#include "server/app/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <variant>

#include "base/edit_distance.h"
#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr int64_t kConfigFileBytesMax = 1 << 20;

constexpr char kEnvironment[] = "environment ";

// Variables that are not configuration keys: they are read where they are used, also by workers,
// which inherit them.
constexpr const char* kNotKeys[] = {"LFM2_ISA",           "LFM2_SPM_LIBRARY",
                                    "LFM2_XGRAMMAR_DIR",  "LFM2_CUDA_LIBRARY",
                                    "LFM2_TORCH_LIBRARY", "LFM2_TORCH_LIB_DIR"};

using Target = std::variant<std::string*, int64_t*, bool*>;

struct Row {
  std::string key;
  std::string help;
  Target target;
  int64_t min = 0;
  int64_t max = INT64_MAX;
  std::vector<std::string> choices = {};  // of a string; empty: any
};

std::vector<Row> ServerRows(ServerConfig& c) {
  return {
      {"listen", "address to serve at: host:port (port 0 picks one) or unix:PATH", &c.listen},
      {"data_dir", "folder of models, datasets and jobs", &c.data_dir},
      {"device", "cpu, cuda, cuda:N or auto", &c.device},
      {"dtype", "data type of served weights", &c.dtype, 0, 0, {"auto", "float32", "bfloat16"}},
      {"weights",
       "format of weights served on the CPU; auto keeps the stored format",
       &c.weights,
       0,
       0,
       {"auto", "f32", "bf16", "int8", "int4"}},
      {"kv_bytes", "memory for keys and values of each loaded model", &c.kv_bytes, 1 << 20,
       int64_t{1} << 50},
      {"prefix_cache_bytes",
       "part of kv_bytes that the prefix cache may keep after a sequence ends; 0: no cache",
       &c.prefix_cache_bytes, 0, int64_t{1} << 50},
      {"threads", "CPU threads for the engine's arithmetic; 0: one per core", &c.threads, 0, 1024},
      {"default_model",
       "model for requests that do not name one, loaded at the start; empty: the newest model, "
       "ignoring those that --init_from created",
       &c.default_model},
      {"default_context", "context in tokens for models whose config does not give one",
       &c.default_context, 16, 1 << 24},
      {"hf_cache",
       "local Hugging Face cache; empty: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub",
       &c.hf_cache},
      {"worker", "path of lfm2-worker; empty: in lfm2d's folder", &c.worker},
      {"train_slots", "training jobs that run at once", &c.train_slots, 1, 64},
      {"short_slots", "init and export jobs that run at once", &c.short_slots, 1, 64},
      {"tls_cert", "PEM file of the server's certificate chain", &c.tls_cert},
      {"tls_key", "PEM file of the server's private key, readable only by its owner", &c.tls_key},
      {"tls_client_ca", "PEM file of a CA; clients must present a certificate that it signed",
       &c.tls_client_ca},
      {"tokens", "file of bearer tokens: SHA-256, name, scopes; readable only by its owner",
       &c.tokens},
      {"insecure_i_know", "allow listening beyond loopback without TLS and tokens",
       &c.insecure_i_know},
      {"reflection", "enable gRPC server reflection", &c.reflection},
      {"metrics_listen", "loopback host:port of the Prometheus endpoint /metrics; empty: off",
       &c.metrics_listen},
      {"log_level",
       "lowest level that is logged",
       &c.log_level,
       0,
       0,
       {"debug", "info", "warning", "error"}},
      {"log_format", "one line per event, as text or JSON", &c.log_format, 0, 0, {"text", "json"}},
      {"drain_timeout_ms", "time that open calls and jobs get to finish when the daemon stops",
       &c.drain_timeout_ms, 0, 3'600'000},
  };
}

std::vector<Row> LimitRows(Limits& l) {
  constexpr int64_t kGiB = int64_t{1} << 30;
  return {
      {"limits.message_bytes", "largest gRPC message", &l.message_bytes, 1 << 16, kGiB},
      {"limits.metadata_bytes", "largest metadata of one call", &l.metadata_bytes, 1 << 10,
       1 << 20},
      {"limits.streams_per_connection", "open calls on one connection", &l.streams_per_connection,
       1, 100'000},
      {"limits.open_calls", "open calls in total", &l.open_calls, 1, 1'000'000},
      {"limits.open_calls_per_caller", "open calls of one caller", &l.open_calls_per_caller, 1,
       1'000'000},
      {"limits.keepalive_ms", "silence after which the server pings a client", &l.keepalive_ms,
       1'000, 86'400'000},
      {"limits.keepalive_timeout_ms", "time that a client has to answer a ping",
       &l.keepalive_timeout_ms, 100, 600'000},
      {"limits.keepalive_least_ms", "shortest allowed time between two pings from a client",
       &l.keepalive_least_ms, 100, 600'000},
      {"limits.prompt_bytes", "longest prompt text", &l.prompt_bytes, 1, kGiB},
      {"limits.waiting_requests", "accepted requests that have not started", &l.waiting_requests, 1,
       1'000'000},
      {"limits.waiting_requests_per_caller", "the same for one caller",
       &l.waiting_requests_per_caller, 1, 1'000'000},
      {"limits.waiting_tokens", "prompt tokens of all waiting requests", &l.waiting_tokens, 1,
       int64_t{1} << 40},
      {"limits.waiting_tokens_per_caller", "the same for one caller", &l.waiting_tokens_per_caller,
       1, int64_t{1} << 40},
      {"limits.running_sequences", "sequences that run at once", &l.running_sequences, 1, 65'536},
      {"limits.step_tokens", "token budget of one engine step", &l.step_tokens, 1, 1 << 20},
      {"limits.prompt_chunk_tokens", "prompt tokens in a step that also decodes",
       &l.prompt_chunk_tokens, 1, 1 << 20},
      {"limits.speculative_tokens",
       "guessed tokens that a greedy sequence may check in one step; 0: off", &l.speculative_tokens,
       0, 64},
      {"limits.speculative_step_tokens", "decoding and guessed tokens of one step",
       &l.speculative_step_tokens, 1, 512},
      {"limits.priority_ageing_ms", "waiting time that raises a request by one priority level",
       &l.priority_ageing_ms, 1, 3'600'000},
      {"limits.engine_stall_ms",
       "time without engine progress after which Generation is not serving", &l.engine_stall_ms,
       100, 3'600'000},
      {"limits.parity_tokens", "tokens of one Parity call", &l.parity_tokens, 1, 65'536},
      {"limits.parity_bytes", "memory for the reports of all open Parity calls", &l.parity_bytes,
       1 << 20, int64_t{1} << 50},
      {"limits.stream_buffer_events", "unsent events before a sequence waits for its reader",
       &l.stream_buffer_events, 1, 1 << 20},
      {"limits.full_buffer_timeout_ms", "longest time that a stream's buffer may stay full",
       &l.full_buffer_timeout_ms, 1, 3'600'000},
      {"limits.slow_reader_timeout_ms", "longest time that one write to a reader may take",
       &l.slow_reader_timeout_ms, 1, 3'600'000},
      {"limits.generate_timeout_ms", "deadline of calls that do not set one",
       &l.generate_timeout_ms, 1, 86'400'000},
      {"limits.generate_timeout_max_ms", "longest deadline that a call may set",
       &l.generate_timeout_max_ms, 1, 86'400'000},
      {"limits.loaded_models", "models in memory at once", &l.loaded_models, 1, 1024},
      {"limits.queued_jobs", "jobs waiting to run", &l.queued_jobs, 1, 1'000'000},
      {"limits.dataset_bytes", "largest upload", &l.dataset_bytes, 1, int64_t{1} << 50},
  };
}

std::vector<Row> AllRows(ServerConfig& config) {
  std::vector<Row> rows = ServerRows(config);
  std::vector<Row> limits = LimitRows(config.limits);
  rows.insert(rows.end(), limits.begin(), limits.end());
  return rows;
}

absl::Status UnknownKey(const std::vector<Row>& rows, const std::string& key,
                        const std::string& origin) {
  std::vector<std::string> keys;
  for (const Row& row : rows) keys.push_back(row.key);
  const std::string nearest = NearestWord(key, keys);
  std::string problem =
      origin + ": no key is named \"" + key + "\"; the nearest is \"" + nearest + "\"";
  if (origin.starts_with(kEnvironment)) problem += "; lfm2ctl's variables begin with LFM2CTL_";
  return Error(Reason::kConfigInvalid, problem, {{"key", key}, {"nearest", nearest}});
}

absl::Status BadValue(const Row& row, const std::string& text, const std::string& origin,
                      const std::string& rule) {
  return Error(Reason::kConfigInvalid,
               origin + ": " + row.key + " is \"" + text + "\", must be " + rule,
               {{"key", row.key}, {"value", text}});
}

absl::Status SetInteger(const Row& row, const std::string& text, const std::string& origin,
                        int64_t& target) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < row.min ||
      value > row.max) {
    return BadValue(
        row, text, origin,
        "a whole number from " + std::to_string(row.min) + " to " + std::to_string(row.max));
  }
  target = value;
  return absl::OkStatus();
}

absl::Status Set(const Row& row, const std::string& text, const std::string& origin) {
  if (int64_t* const* integer = std::get_if<int64_t*>(&row.target)) {
    return SetInteger(row, text, origin, **integer);
  }
  if (bool* const* boolean = std::get_if<bool*>(&row.target)) {
    if (text != "true" && text != "false") return BadValue(row, text, origin, "true or false");
    **boolean = text == "true";
    return absl::OkStatus();
  }
  if (!row.choices.empty() &&
      std::find(row.choices.begin(), row.choices.end(), text) == row.choices.end()) {
    std::string rule = "one of";
    for (const std::string& choice : row.choices) rule += " " + choice;
    return BadValue(row, text, origin, rule);
  }
  *std::get<std::string*>(row.target) = text;
  return absl::OkStatus();
}

std::string TextOf(const Target& target) {
  if (int64_t* const* integer = std::get_if<int64_t*>(&target)) return std::to_string(**integer);
  if (bool* const* boolean = std::get_if<bool*>(&target)) return **boolean ? "true" : "false";
  return *std::get<std::string*>(target);
}

// TOML values of the three kinds as text; nullopt for any other.
std::optional<std::string> TomlText(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return std::to_string(integer->get());
  if (const auto* boolean = node.as_boolean()) return boolean->get() ? "true" : "false";
  return std::nullopt;
}

absl::Status Flatten(const toml::table& table, const std::string& prefix, const std::string& origin,
                     std::map<std::string, std::string>& out) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table()) {
      if (!prefix.empty()) {
        return Error(Reason::kConfigInvalid,
                     origin + ": table \"" + name + "\" is nested too deep");
      }
      LFM2_RETURN_IF_ERROR(Flatten(*inner, name + ".", origin, out));
    } else if (auto text = TomlText(node)) {
      out[name] = *text;
    } else {
      return Error(Reason::kConfigInvalid,
                   origin + ": " + name + " must be a string, a whole number or a boolean");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::map<std::string, std::string>> ReadToml(const std::string& path,
                                                            const std::string& origin) {
  absl::StatusOr<std::string> text = ReadFile(path, kConfigFileBytesMax);
  if (!text.ok()) return Annotate(text.status(), origin);
  std::map<std::string, std::string> values;
  try {
    LFM2_RETURN_IF_ERROR(Flatten(toml::parse(*text), "", origin, values));
  } catch (const toml::parse_error& error) {
    return Error(Reason::kConfigInvalid, origin + ": line " +
                                             std::to_string(error.source().begin.line) + ": " +
                                             std::string(error.description()));
  }
  return values;
}

std::string EnvironmentKey(const std::string& variable) {
  std::string key = variable.substr(5);
  std::transform(key.begin(), key.end(), key.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (key.rfind("limits_", 0) == 0) key[6] = '.';
  return key;
}

}  // namespace

std::vector<ConfigKey> ConfigKeys() {
  ServerConfig config;
  std::vector<ConfigKey> keys;
  for (const Row& row : AllRows(config)) {
    keys.push_back({row.key, row.help, std::holds_alternative<bool*>(row.target)});
  }
  return keys;
}

absl::StatusOr<LoadedConfig> LoadConfig(const ConfigSources& sources) {
  LoadedConfig loaded;
  const std::vector<Row> rows = AllRows(loaded.config);
  std::map<std::string, std::string> origins;
  const auto apply = [&](const std::map<std::string, std::string>& values,
                         auto origin_of) -> absl::Status {
    for (const auto& [key, text] : values) {
      const std::string origin = origin_of(key);
      const auto row = std::find_if(rows.begin(), rows.end(),
                                    [&name = key](const Row& r) { return r.key == name; });
      if (row == rows.end()) return UnknownKey(rows, key, origin);
      LFM2_RETURN_IF_ERROR(Set(*row, text, origin));
      origins[key] = origin;
    }
    return absl::OkStatus();
  };
  if (!sources.file.empty()) {
    const std::string origin = "file " + sources.file;
    LFM2_ASSIGN_OR_RETURN(auto values, ReadToml(sources.file, origin));
    LFM2_RETURN_IF_ERROR(apply(values, [&](const std::string&) { return origin; }));
  }
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> variable_of;
  for (const auto& [variable, text] : sources.environment) {
    if (std::find(std::begin(kNotKeys), std::end(kNotKeys), variable) != std::end(kNotKeys)) {
      continue;
    }
    const std::string key = EnvironmentKey(variable);
    // Blanking a variable is how a unit or a compose file takes it back.
    const bool known =
        std::any_of(rows.begin(), rows.end(), [&key](const Row& row) { return row.key == key; });
    if (text.empty() && !known) continue;
    environment[key] = text;
    variable_of[key] = kEnvironment + variable;
  }
  LFM2_RETURN_IF_ERROR(
      apply(environment, [&](const std::string& key) { return variable_of[key]; }));
  LFM2_RETURN_IF_ERROR(
      apply(sources.flags, [](const std::string& key) { return "flag --" + key; }));
  for (const Row& row : rows) {
    const auto origin = origins.find(row.key);
    loaded.values.push_back({row.key, TextOf(row.target),
                             origin == origins.end() ? "default" : origin->second, row.help});
  }
  return loaded;
}

}  // namespace lfm2
