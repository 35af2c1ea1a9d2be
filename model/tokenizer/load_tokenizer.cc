#include "model/tokenizer/load_tokenizer.h"

#include <system_error>

#include "base/errors.h"
#include "base/file.h"
#include "base/file_kinds.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/tokenizer/bytes.h"
#include "model/tokenizer/json/bpe_tokenizer.h"
#include "model/tokenizer/json/gguf_tokenizer.h"
#include "model/tokenizer/json/json_fields.h"
#include "model/tokenizer/json/tokenizer_config.h"
#include "model/tokenizer/spm/sentencepiece.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

bool IsGguf(const fs::path& path) {
  return WeightsFormatOf(path.filename().string()) == WeightsFormat::kGguf;
}

bool IsFile(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

bool IsDirectory(const fs::path& path) {
  std::error_code error;
  return fs::is_directory(path, error);
}

absl::StatusOr<fs::path> TokenizerFileOf(const fs::path& path) {
  if (IsFile(path)) return path;
  for (const std::string_view name : kTokenizerFiles) {
    if (IsFile(path / name)) return path / name;
  }
  const std::string what =
      IsDirectory(path)
          ? "the folder has no tokenizer.json, tokenizer.model or bytes_tokenizer.json"
          : "no tokenizer file or folder has this name";
  return Error(Reason::kFileNotFound, path.filename().string() + ": " + what,
               {{"file", path.filename().string()}});
}

absl::Status CheckByteMarker(const fs::path& file) {
  LFM2_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, 4096));
  const absl::StatusOr<Json> json = ParseJson(text);
  if (!json.ok()) return TokenizerError(kByteTokenizerFile, std::string(json.status().message()));
  LFM2_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(*json, kByteTokenizerFile));
  LFM2_ASSIGN_OR_RETURN(const std::string definition,
                        fields.String("definition", kByteTokenizerDefinition));
  if (definition == kByteTokenizerDefinition) return absl::OkStatus();
  return TokenizerError(kByteTokenizerFile,
                        "definition \"" + Shortened(definition) + "\" is not known");
}

absl::StatusOr<TokenizerFiles> FilesOfGguf(const fs::path& file) {
  LFM2_ASSIGN_OR_RETURN(const GgufFile gguf, ReadGguf(file));
  absl::StatusOr<TokenizerFiles> files = TokenizerFilesFromGguf(gguf);
  if (!files.ok()) return Annotate(files.status(), file.filename().string());
  return files;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Tokenizer>> LoadTokenizer(const fs::path& path) {
  LFM2_ASSIGN_OR_RETURN(const fs::path file, TokenizerFileOf(path));
  if (file.filename() == kByteTokenizerFile) {
    LFM2_RETURN_IF_ERROR(CheckByteMarker(file));
    return MakeByteTokenizer();
  }
  const std::string extension = file.extension().string();
  if (IsGguf(file)) {
    LFM2_ASSIGN_OR_RETURN(const TokenizerFiles files, FilesOfGguf(file));
    LFM2_ASSIGN_OR_RETURN(const TokenizerConfig config,
                          TokenizerConfig::Parse(files.tokenizer_config_json));
    return MakeBpeTokenizer(files.tokenizer_json, config);
  }
  if (extension != ".json" && extension != ".model") {
    return TokenizerError(file.filename().string(),
                          "must be a .json (tokenizers), a .model (sentencepiece) or a .gguf that "
                          "contains a tokenizer");
  }
  LFM2_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file, kDefaultLimits.json_bytes));
  LFM2_ASSIGN_OR_RETURN(const TokenizerConfig config, TokenizerConfig::Read(file.parent_path()));
  return extension == ".json" ? MakeBpeTokenizer(bytes, config)
                              : MakeSentencepieceTokenizer(bytes, config);
}

absl::Status CopyTokenizerFiles(const fs::path& source, const fs::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const fs::path file, TokenizerFileOf(source));
  if (file.filename() == kByteTokenizerFile) {
    const Json marker = {{"definition", std::string(kByteTokenizerDefinition)}};
    return WriteFileDurably(directory / kByteTokenizerFile, marker.dump(2) + "\n");
  }
  if (IsGguf(file)) {
    LFM2_ASSIGN_OR_RETURN(const TokenizerFiles files, FilesOfGguf(file));
    LFM2_RETURN_IF_ERROR(WriteFileDurably(directory / kJsonTokenizerFile, files.tokenizer_json));
    return WriteFileDurably(directory / "tokenizer_config.json", files.tokenizer_config_json);
  }
  LFM2_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(file, kDefaultLimits.json_bytes));
  const bool is_json = file.extension() == ".json";
  LFM2_RETURN_IF_ERROR(
      WriteFileDurably(directory / (is_json ? kJsonTokenizerFile : kSentencepieceFile), bytes));
  for (const std::string_view name : kTokenizerSidecarFiles) {
    const fs::path sidecar = file.parent_path() / name;
    if (!IsFile(sidecar)) continue;
    LFM2_ASSIGN_OR_RETURN(const std::string content, ReadFile(sidecar, kDefaultLimits.json_bytes));
    LFM2_RETURN_IF_ERROR(WriteFileDurably(directory / name, content));
  }
  return absl::OkStatus();
}

}  // namespace lfm2
