// Finds out what a name on the command line means: a local path, a model in the server's Hugging
// Face cache, or a model of the server. Reads the local disk, never the network. Thread rule: pure
// except for reading the disk.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lfm2 {

struct LocalFile {
  std::filesystem::path path;
  std::string name;  // the plain name that is sent to the server
};

enum class SourcePurpose { kWeights, kTokenizer };

struct ResolvedSource {
  enum class Kind { kModel, kHf, kFiles, kBytes };
  Kind kind = Kind::kModel;
  std::string name;              // kModel, kHf
  std::vector<LocalFile> files;  // kFiles, by name
  bool bare_weights = false;     // kFiles without a config that gives the shape
};

// The text in --help that describes the order below.
extern const char kSourceHelp[];

// The first that applies: "bytes" (tokenizers only); an existing local file or folder;
// "hf:ORG/NAME"; ORG/NAME, which means the same; a model of the server. kFileNotFound for a path
// that does not exist, or a folder without the needed files. A folder without them whose name is a
// plain name is not an error: the name then means the server's model.
absl::StatusOr<ResolvedSource> ResolveSource(const std::string& text, SourcePurpose purpose);

// For ModelRef: adds "hf:" to ORG/NAME and leaves all other names unchanged.
std::string ModelReference(const std::string& text);

// Files to train on: one file, or the *.txt, *.jsonl and *.ndjson of a folder.
absl::StatusOr<std::vector<LocalFile>> DataFiles(const std::filesystem::path& path);

}  // namespace lfm2
