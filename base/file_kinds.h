// The kind of a file by its name: the one table of weights, tokenizer and training files for the
// client, the daemon and the worker. Nothing here opens a file.
//
// A kind is decided by the extension, as std::filesystem::path defines it, or by the whole name;
// both are case-sensitive. Thread rule: pure functions.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace lfm2 {

enum class WeightsFormat { kSafetensors, kNpz, kTorchPt, kGguf };

// "safetensors", "npz", "pt", "gguf": the names used in a model's description.
const char* WeightsFormatName(WeightsFormat format);

// By the extension: .safetensors, .npz, .pt, .pth, .bin, .gguf.
std::optional<WeightsFormat> WeightsFormatOf(std::string_view file_name);
// The same, except for files with such an extension that transformers' trainer writes beside its
// weights.
bool IsWeightsFile(std::string_view file_name);
// ".safetensors, .npz, .pt, .pth, .bin or .gguf", for messages.
std::string WeightsExtensions();
// The file that lists the shards of weights in several .safetensors files.
bool IsWeightsIndexFile(std::string_view file_name);

inline constexpr std::string_view kModelConfigFile = "config.json";
inline constexpr std::string_view kGenerationConfigFile = "generation_config.json";

inline constexpr std::string_view kJsonTokenizerFile = "tokenizer.json";
inline constexpr std::string_view kSentencepieceFile = "tokenizer.model";
inline constexpr std::string_view kByteTokenizerFile = "bytes_tokenizer.json";
// Each of these is a tokenizer; the first that exists in a folder is used.
inline constexpr std::array<std::string_view, 3> kTokenizerFiles = {
    kJsonTokenizerFile, kSentencepieceFile, kByteTokenizerFile};
// Files that are read together with a tokenizer file.
inline constexpr std::array<std::string_view, 3> kTokenizerSidecarFiles = {
    "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
// Both lists, and any other tokenizer*.json or tokenizer*.model.
bool IsTokenizerFile(std::string_view file_name);

// Training text with one JSON object per line: .jsonl, .ndjson. All other training files are plain
// text.
bool IsJsonLinesFile(std::string_view file_name);
// The files of a folder that are used as training text: .txt, .jsonl, .ndjson.
bool IsDataFile(std::string_view file_name);

}  // namespace lfm2
