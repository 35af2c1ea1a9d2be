// The one table of limits. The server's config may change those that say so; tests try each at its
// limit and one past it.
#pragma once

#include <cstdint>

namespace lfm2 {

struct Limits {
  // Transport.
  int64_t message_bytes = 4 << 20;
  int64_t metadata_bytes = 8 << 10;
  int64_t streams_per_connection = 100;
  // Generate, Score, Tokenize.
  int64_t prompt_bytes = 1 << 20;
  int64_t stop_strings = 16;
  int64_t stop_string_bytes = 256;
  int64_t stop_ids = 64;
  int64_t logprobs = 20;
  int64_t messages = 1024;
  int64_t waiting_requests = 1024;  // accepted and not yet started
  int64_t running_sequences = 64;
  int64_t step_tokens = 512;           // token budget of one engine step
  int64_t stream_buffer_events = 256;  // unsent events before a reader is called slow
  int64_t slow_reader_timeout_ms = 30'000;
  int64_t generate_timeout_ms = 600'000;  // when the client set no deadline
  int64_t generate_timeout_max_ms = 3'600'000;
  int64_t loaded_models = 4;
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
};

// What applies where nobody configured anything: file parsers always, the server until its config
// says otherwise.
inline constexpr Limits kDefaultLimits;

}  // namespace lfm2
