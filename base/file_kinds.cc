#include "base/file_kinds.h"

#include <algorithm>
#include <filesystem>
#include <span>

namespace lfm2 {
namespace {

struct WeightsExtension {
  std::string_view extension;
  WeightsFormat format;
};

constexpr WeightsExtension kWeights[] = {{".safetensors", WeightsFormat::kSafetensors},
                                         {".npz", WeightsFormat::kNpz},
                                         {".pt", WeightsFormat::kTorchPt},
                                         {".pth", WeightsFormat::kTorchPt},
                                         {".bin", WeightsFormat::kTorchPt},
                                         {".gguf", WeightsFormat::kGguf}};
constexpr std::string_view kTrainerArguments = "training_args.bin";

std::string ExtensionOf(std::string_view file_name) {
  return std::filesystem::path(file_name).extension().string();
}

bool Holds(std::span<const std::string_view> list, std::string_view text) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

}  // namespace

const char* WeightsFormatName(WeightsFormat format) {
  switch (format) {
    case WeightsFormat::kSafetensors:
      return "safetensors";
    case WeightsFormat::kNpz:
      return "npz";
    case WeightsFormat::kTorchPt:
      return "pt";
    case WeightsFormat::kGguf:
      return "gguf";
  }
  return "";
}

std::optional<WeightsFormat> WeightsFormatOf(std::string_view file_name) {
  const std::string extension = ExtensionOf(file_name);
  for (const WeightsExtension& known : kWeights) {
    if (known.extension == extension) return known.format;
  }
  return std::nullopt;
}

bool IsWeightsFile(std::string_view file_name) {
  return WeightsFormatOf(file_name).has_value() && file_name != kTrainerArguments;
}

std::string WeightsExtensions() {
  std::string out;
  const size_t count = std::size(kWeights);
  for (size_t i = 0; i < count; ++i) {
    if (i > 0) out += i + 1 == count ? " or " : ", ";
    out += kWeights[i].extension;
  }
  return out;
}

bool IsWeightsIndexFile(std::string_view file_name) {
  return file_name.ends_with(".safetensors.index.json");
}

bool IsTokenizerFile(std::string_view file_name) {
  if (Holds(kTokenizerFiles, file_name) || Holds(kTokenizerSidecarFiles, file_name)) return true;
  return file_name.starts_with("tokenizer") &&
         (file_name.ends_with(".json") || file_name.ends_with(".model"));
}

bool IsJsonLinesFile(std::string_view file_name) {
  const std::string extension = ExtensionOf(file_name);
  return extension == ".jsonl" || extension == ".ndjson";
}

bool IsDataFile(std::string_view file_name) {
  return ExtensionOf(file_name) == ".txt" || IsJsonLinesFile(file_name);
}

}  // namespace lfm2
