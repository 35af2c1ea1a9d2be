// The daemon's configuration and where each value came from. Flags override the environment
// (LFM2_*), which overrides the file, which overrides the defaults. One table (config.cc) names
// every key once; the file, the environment, the flags and `config show` use it. Thread rule: plain
// data after Load.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/limits.h"

namespace lfm2 {

struct ServerConfig {
  std::string listen = "127.0.0.1:7070";  // host:port, port 0 picks one; or unix:PATH
  std::string data_dir = "data";
  std::string device = "auto";
  std::string dtype = "auto";
  std::string weights = "auto";         // format of weights served on the CPU; auto: as dtype says
  int64_t kv_bytes = int64_t{4} << 30;  // keys and values of each loaded model
  int64_t prefix_cache_bytes = int64_t{1} << 30;  // part of kv_bytes for the prefix cache; 0: off
  int64_t threads = 0;                            // for the engine's arithmetic; 0: one per core
  std::string default_model;       // for requests that do not name one; empty: see config.cc
  int64_t default_context = 4096;  // tokens, for models whose config gives no limit
  std::string hf_cache;            // empty: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub
  std::string worker;              // path of lfm2-worker; empty: in lfm2d's folder
  int64_t train_slots = 1;
  int64_t short_slots = 2;
  std::string tls_cert, tls_key, tls_client_ca;
  std::string tokens;  // file of bearer tokens' hashes
  bool insecure_i_know = false;
  bool reflection = true;
  std::string metrics_listen;  // loopback host:port of /metrics; empty: off
  std::string log_level = "info";
  std::string log_format = "text";  // or "json"
  int64_t drain_timeout_ms = 30'000;
  Limits limits;
};

struct ConfigValue {
  std::string key;  // "listen", "limits.waiting_requests"
  std::string value;
  std::string origin;  // "default", "file server.toml", "environment LFM2_LISTEN", "flag --listen"
  std::string help;
};

struct LoadedConfig {
  ServerConfig config;
  std::vector<ConfigValue> values;  // in the table's order
};

struct ConfigSources {
  std::string file;                                // path; empty: none
  std::map<std::string, std::string> environment;  // LFM2_* variables
  std::map<std::string, std::string> flags;        // key -> text, as given on the command line
};

// kConfigInvalid for an unknown key (the message names the nearest known one) and for a value of
// the wrong type or out of range.
absl::StatusOr<LoadedConfig> LoadConfig(const ConfigSources& sources);

// Every key with its help, for the command line.
struct ConfigKey {
  std::string key, help;
  bool is_flag = false;  // a boolean that needs no value
};
std::vector<ConfigKey> ConfigKeys();

}  // namespace lfm2
