// A dataset as token ids on disk: tokenized once and memory-mapped for the run, so it is never
// loaded as a whole.
//
// File "tokens.bin", little-endian: int32 ids, padding to 8 bytes, int64 end of each document (in
// tokens, ascending), then a footer of kFooterBytes with the key, the counts and the largest id.
// Written aside and renamed, so the file is complete or does not exist. The key is a hash of the
// dataset files and the tokenizer, so that a resumed job reuses the file and a job with another
// tokenizer does not.
//
// A document starts with BOS if the tokenizer's own encoding does, and ends with EOS if the
// tokenizer has one. A plain text file is one document, encoded in pieces of about 1 MiB that end
// at line breaks, so no BPE merge crosses the end of a piece. Thread rule: const after Open.
// Ownership: keeps its mapped file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/stop_check.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

struct DatasetFile {
  std::filesystem::path path;
  std::string name;  // as uploaded: decides the format; shown in messages
};

class TokenStore {
 public:
  // kStorageIoError if the file is not a complete token store.
  static absl::StatusOr<TokenStore> Open(const std::filesystem::path& path);

  std::span<const int32_t> tokens() const { return tokens_; }
  std::span<const int64_t> document_ends() const { return document_ends_; }
  const std::string& key() const { return key_; }
  int32_t max_id() const { return max_id_; }

 private:
  std::shared_ptr<const MappedFile> file_;
  std::span<const int32_t> tokens_;
  std::span<const int64_t> document_ends_;
  std::string key_;
  int32_t max_id_ = 0;
};

// Lower-case hexadecimal SHA-256 of the files' contents and formats and the tokenizer's hash.
absl::StatusOr<std::string> TokenStoreKey(const std::vector<DatasetFile>& files,
                                          const Tokenizer& tokenizer, const StopCheck& stop = {});

struct TokenStoreResult {
  TokenStore store;
  bool reused = false;
  int64_t empty_documents = 0;  // left out; 0 if the file was reused
};

// Opens `path` if it already holds this dataset encoded with this tokenizer, else writes it. Calls
// `stop` for every piece of the files. kDatasetInvalid, kDiskFull.
absl::StatusOr<TokenStoreResult> OpenOrBuildTokenStore(const std::vector<DatasetFile>& files,
                                                       const Tokenizer& tokenizer,
                                                       const std::filesystem::path& path,
                                                       const StopCheck& stop = {});

}  // namespace lfm2
