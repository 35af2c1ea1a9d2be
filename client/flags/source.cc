#include "client/flags/source.h"

#include <algorithm>
#include <functional>

#include "absl/strings/match.h"
#include "base/errors.h"
#include "base/file_kinds.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr size_t kFolderFiles = 64;  // FileSet of common.proto

bool IsModelFile(std::string_view name) {
  return IsTokenizerFile(name) || IsWeightsFile(name) || IsWeightsIndexFile(name) ||
         name == kModelConfigFile || name == kGenerationConfigFile;
}

absl::StatusOr<std::vector<LocalFile>> FolderFiles(
    const fs::path& folder, const std::function<bool(std::string_view)>& wanted) {
  std::vector<LocalFile> files;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (wanted(name) && it->is_regular_file(ignored)) files.push_back({it->path(), name});
  }
  if (error) return Error(Reason::kFileNotFound, folder.string() + ": " + error.message());
  std::sort(files.begin(), files.end(),
            [](const LocalFile& a, const LocalFile& b) { return a.name < b.name; });
  if (files.size() > kFolderFiles) {
    return Error(Reason::kInvalidArgument,
                 folder.string() + " has " + std::to_string(files.size()) +
                     " files to upload, limit " + std::to_string(kFolderFiles));
  }
  return files;
}

// A meta JSON belongs to the NPZ of the same stem.
void AddMetaFiles(std::vector<LocalFile>& files) {
  const std::vector<LocalFile> found = files;
  for (const LocalFile& file : found) {
    if (WeightsFormatOf(file.name) != WeightsFormat::kNpz) continue;
    fs::path meta = file.path;
    meta.replace_extension(".json");
    std::error_code error;
    const std::string name = meta.filename().string();
    const bool known = std::any_of(files.begin(), files.end(),
                                   [&](const LocalFile& other) { return other.name == name; });
    if (!known && fs::is_regular_file(meta, error)) files.push_back({meta, name});
  }
}

bool IsPlainName(const std::string& text) {
  return text.find('/') == std::string::npos && text != "." && text != "..";
}

absl::StatusOr<ResolvedSource> LocalSource(const fs::path& path, SourcePurpose purpose) {
  ResolvedSource source;
  source.kind = ResolvedSource::Kind::kFiles;
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    source.files.push_back({path, path.filename().string()});
  } else {
    const bool tokenizer = purpose == SourcePurpose::kTokenizer;
    LFM2_ASSIGN_OR_RETURN(source.files,
                          FolderFiles(path, tokenizer ? IsTokenizerFile : IsModelFile));
    const bool useful = tokenizer
                            ? !source.files.empty()
                            : std::any_of(source.files.begin(), source.files.end(),
                                          [](const LocalFile& f) { return IsWeightsFile(f.name); });
    if (!useful) {
      // A plain name may be both a folder in the working directory and a model of the server.
      if (IsPlainName(path.string())) {
        source.kind = ResolvedSource::Kind::kModel;
        source.name = path.string();
        return source;
      }
      return Error(Reason::kFileNotFound,
                   path.string() + (tokenizer ? " has no tokenizer.json or tokenizer.model"
                                              : " has no " + WeightsExtensions() + " file"));
    }
  }
  if (purpose == SourcePurpose::kWeights) AddMetaFiles(source.files);
  source.bare_weights =
      std::none_of(source.files.begin(), source.files.end(), [](const LocalFile& f) {
        return f.name == kModelConfigFile || WeightsFormatOf(f.name) == WeightsFormat::kGguf;
      });
  return source;
}

// "ORG/NAME" or "ORG/NAME@REVISION" of plain characters.
bool IsHubName(const std::string& text) {
  const size_t slash = text.find('/');
  if (slash == std::string::npos || slash == 0 || slash + 1 == text.size()) return false;
  if (text.find('/', slash + 1) != std::string::npos || text[0] == '.' || text[slash + 1] == '.')
    return false;
  return std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '/' || c == '@';
  });
}

}  // namespace

const char kSourceHelp[] =
    "an existing local file, or folder with a model, is uploaded; else hf:ORG/NAME or ORG/NAME is "
    "looked up in the server's "
    "Hugging Face cache; "
    "else it is the name of a model of the server";

absl::StatusOr<ResolvedSource> ResolveSource(const std::string& text, SourcePurpose purpose) {
  ResolvedSource source;
  if (purpose == SourcePurpose::kTokenizer && text == "bytes") {
    source.kind = ResolvedSource::Kind::kBytes;
    return source;
  }
  std::error_code error;
  if (!text.empty() && fs::exists(text, error)) return LocalSource(text, purpose);
  if (absl::StartsWith(text, "hf:") || IsHubName(text)) {
    source.kind = ResolvedSource::Kind::kHf;
    source.name = absl::StartsWith(text, "hf:") ? text.substr(3) : text;
    return source;
  }
  if (!IsPlainName(text)) {
    return Error(Reason::kFileNotFound, "there is no local file or folder " + text);
  }
  source.name = text;
  return source;
}

std::string ModelReference(const std::string& text) {
  return !absl::StartsWith(text, "hf:") && IsHubName(text) ? "hf:" + text : text;
}

absl::StatusOr<std::vector<LocalFile>> DataFiles(const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    LFM2_ASSIGN_OR_RETURN(std::vector<LocalFile> files, FolderFiles(path, IsDataFile));
    if (files.empty()) {
      return Error(Reason::kFileNotFound, path.string() + " has no .txt, .jsonl or .ndjson file");
    }
    return files;
  }
  if (!fs::exists(path, error)) {
    return Error(Reason::kFileNotFound, "there is no local file or folder " + path.string());
  }
  return std::vector<LocalFile>{{path, path.filename().string()}};
}

}  // namespace lfm2
