// What a name on the command line stands for: a local path, a model of the server's Hugging Face
// cache, or a model of the server. Looks at the local disk, never at the network. Thread rule: pure
// but for the disk.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lfm2 {

struct LocalFile {
  std::filesystem::path path;
  std::string name;  // the plain name that the server sees
};

enum class SourcePurpose { kWeights, kTokenizer };

struct ResolvedSource {
  enum class Kind { kModel, kHf, kFiles, kBytes };
  Kind kind = Kind::kModel;
  std::string name;              // kModel, kHf
  std::vector<LocalFile> files;  // kFiles, by name
  bool bare_weights = false;     // kFiles that no config says the shape of
};

// The text that --help shows for the order below.
extern const char kSourceHelp[];

// In this order: "bytes" (tokenizers only); an existing local file or folder; "hf:ORG/NAME";
// ORG/NAME, which is the same; a name of the server. kFileNotFound for what looks like a path and
// is not there, or a folder without what is needed; such a folder with a plain name is no error but
// steps aside for the server's model of that name.
absl::StatusOr<ResolvedSource> ResolveSource(const std::string& text, SourcePurpose purpose);

// For ModelRef: ORG/NAME gets its "hf:", everything else stays.
std::string ModelReference(const std::string& text);

// Files to train on: one file, or the *.txt, *.jsonl and *.ndjson of a folder.
absl::StatusOr<std::vector<LocalFile>> DataFiles(const std::filesystem::path& path);

}  // namespace lfm2
