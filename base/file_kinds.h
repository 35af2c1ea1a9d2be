// What the name of a file says about it: the one table of weights, tokenizer and training files for
// the client, the daemon and the worker. Nothing here opens a file.
//
// A kind goes by the extension, as std::filesystem::path has it, or by the whole name; upper case
// is another name. Thread rule: pure functions.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace lfm2 {

enum class WeightsFormat { kSafetensors, kNpz, kTorchPt, kGguf };

// "safetensors", "npz", "pt", "gguf": what a model's description says.
const char* WeightsFormatName(WeightsFormat format);

// By the extension: .safetensors, .npz, .pt, .pth, .bin, .gguf.
std::optional<WeightsFormat> WeightsFormatOf(std::string_view file_name);
// The same, but for what transformers' trainer leaves beside its weights under such an extension.
bool IsWeightsFile(std::string_view file_name);
// ".safetensors, .npz, .pt, .pth, .bin or .gguf", for messages.
std::string WeightsExtensions();
// Names the files that weights in several .safetensors lie in.
bool IsWeightsIndexFile(std::string_view file_name);

inline constexpr std::string_view kModelConfigFile = "config.json";
inline constexpr std::string_view kGenerationConfigFile = "generation_config.json";

inline constexpr std::string_view kJsonTokenizerFile = "tokenizer.json";
inline constexpr std::string_view kSentencepieceFile = "tokenizer.model";
inline constexpr std::string_view kByteTokenizerFile = "bytes_tokenizer.json";
// Any one of them is a tokenizer; the first that a folder has is the folder's.
inline constexpr std::array<std::string_view, 3> kTokenizerFiles = {
    kJsonTokenizerFile, kSentencepieceFile, kByteTokenizerFile};
// Read beside one of them.
inline constexpr std::array<std::string_view, 3> kTokenizerSidecarFiles = {
    "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"};
// Both lists, and whatever else is called tokenizer*.json or tokenizer*.model.
bool IsTokenizerFile(std::string_view file_name);

// Training text with one JSON object a line: .jsonl, .ndjson. Everything else that one trains on is
// plain text.
bool IsJsonLinesFile(std::string_view file_name);
// What of a folder is taken for training text: .txt, .jsonl, .ndjson.
bool IsDataFile(std::string_view file_name);

}  // namespace lfm2
