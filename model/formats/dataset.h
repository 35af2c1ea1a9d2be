// Training text: plain text files and JSONL, read as a stream of documents. Never holds a whole
// file in memory.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace lfm2 {

enum class DatasetFormat { kText, kJsonl };

// Decided by base/file_kinds.h: JSON lines are JSONL, anything else is text.
DatasetFormat DatasetFormatOf(std::string_view file_name);

// One pass over a file. Text: the whole file is one document, returned in pieces that end at a line
// break if one is near (`continues` says that the next piece belongs to the same document). JSONL:
// each line is an object with "text"; anything else is kDatasetInvalid{line, rule}. Invalid UTF-8
// in JSONL is refused with its line; text may contain any bytes.
struct DocumentPiece {
  std::string text;
  bool continues = false;
};

class DatasetReader {
 public:
  static absl::StatusOr<std::unique_ptr<DatasetReader>> Open(const std::filesystem::path& path,
                                                             DatasetFormat format,
                                                             int64_t piece_bytes = 1 << 20);
  virtual ~DatasetReader() = default;
  // nullopt at the end.
  virtual absl::StatusOr<std::optional<DocumentPiece>> Next() = 0;
};

}  // namespace lfm2
