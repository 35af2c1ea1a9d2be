// The one table of limits. server/app/config.cc lists those that the configuration can change;
// tests try each at its limit and one past it.
#pragma once

#include <cstdint>

namespace lfm2 {

struct Limits {
  // Transport.
  int64_t message_bytes = 4 << 20;
  int64_t metadata_bytes = 8 << 10;
  int64_t streams_per_connection = 100;
  int64_t open_calls = 4096;             // of all callers
  int64_t open_calls_per_caller = 1024;  // where tokens tell callers apart
  // A peer that is silent for keepalive_ms gets a ping, and its connection is closed when it does
  // not answer within keepalive_timeout_ms. A client may ping every keepalive_least_ms.
  int64_t keepalive_ms = 30'000;
  int64_t keepalive_timeout_ms = 20'000;
  int64_t keepalive_least_ms = 10'000;
  // Generate, Score, Tokenize.
  int64_t prompt_bytes = 1 << 20;
  int64_t stop_strings = 16;
  int64_t stop_string_bytes = 256;
  int64_t stop_ids = 64;
  int64_t logprobs = 20;
  int64_t logit_biases = 300;
  int64_t messages = 1024;
  int64_t tools = 128;              // described to a model in one request
  int64_t waiting_requests = 1024;  // accepted and not yet started
  int64_t waiting_requests_per_caller = 256;
  int64_t waiting_tokens = int64_t{1} << 19;  // of their prompts
  int64_t waiting_tokens_per_caller = int64_t{1} << 17;
  int64_t running_sequences = 64;
  int64_t step_tokens = 512;             // token budget of one engine step
  int64_t prompt_chunk_tokens = 256;     // prompt tokens of a step that also decodes
  int64_t speculative_tokens = 8;        // guessed tokens of a sequence in a step; 0: off
  int64_t speculative_step_tokens = 16;  // decoding and guessed tokens of a step with guesses
  int64_t priority_ageing_ms = 5'000;    // waiting time that counts as one priority level
  int64_t engine_stall_ms = 8'000;       // without progress until Generation is not serving
  int64_t stream_buffer_events = 256;    // unsent events before a sequence waits for its reader
  int64_t full_buffer_timeout_ms = 5'000;
  int64_t slow_reader_timeout_ms = 30'000;
  int64_t generate_timeout_ms = 600'000;  // when the client set no deadline
  int64_t generate_timeout_max_ms = 3'600'000;
  int64_t loaded_models = 4;
  // Structured output.
  int64_t grammar_bytes = 64 << 10;
  int64_t grammar_depth = 64;  // of brackets, or of a schema's JSON
  int64_t grammar_compile_ms = 2'000;
  int64_t grammar_step_ms = 2'000;  // for the tokens that may come next
  int64_t grammar_compiles = 16;    // running or queued, of one model
  int64_t grammars_cached = 64;     // of one model
  int64_t grammar_cache_bytes = 64 << 20;
  int64_t tool_calls = 128;  // of one answer
  int64_t tool_call_bytes = 256 << 10;
  // Names and labels.
  int64_t name_bytes = 128;
  int64_t request_id_bytes = 128;
  int64_t labels = 32;
  int64_t label_bytes = 128;
  // Jobs and uploads.
  int64_t queued_jobs = 10'000;
  int64_t job_spec_bytes = 64 << 10;
  int64_t dataset_bytes = int64_t{64} << 30;
  int64_t parity_tokens = 4096;
  // Files from outside.
  int64_t json_bytes = int64_t{64} << 20;  // tokenizer.json of the largest families is 35 MB
  int64_t json_depth = 64;
  int64_t safetensors_header_bytes = int64_t{100} << 20;
  int64_t tensors_per_file = 65'536;
  int64_t archive_ratio = 200;  // bytes out per byte in of a compressed NPZ member
  int64_t jsonl_line_bytes = 16 << 20;
  int64_t layers = 1024;
  int64_t vocab_size = int64_t{1} << 22;
  // Memory of the server.
  int64_t parity_bytes = int64_t{2} << 30;  // held by the reports of all open Parity calls
};

// The defaults. File parsers always use them, the server unless its configuration changes them.
inline constexpr Limits kDefaultLimits;

}  // namespace lfm2
