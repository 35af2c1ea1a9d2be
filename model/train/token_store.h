// A dataset as token ids on disk: tokenized once, mapped for the run, never whole in memory.
//
// File "tokens.bin", little-endian: int32 ids, padding to 8 bytes, int64 end of each document (in
// tokens, ascending), then a footer of kFooterBytes with the key, the counts and the largest id.
// Written aside and renamed: there is all of it or nothing. The key is a hash of the dataset files
// and the tokenizer, so a resumed job does not tokenize again and a job with another tokenizer
// does.
//
// A document starts with BOS when the tokenizer's own encoding does, and ends with EOS when the
// tokenizer has one. A plain text file is one document, encoded in pieces of about 1 MiB that end
// at line breaks: no merge crosses such an edge. Thread rule: const after Open. Ownership: keeps
// its mapped file.
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
  std::string name;  // as uploaded: decides the format, and stands in messages
};

class TokenStore {
 public:
  // kStorageIoError when the file is not a whole token store.
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

// Lower-case hexadecimal SHA-256 over the files' contents and formats, and the tokenizer's hash.
absl::StatusOr<std::string> TokenStoreKey(const std::vector<DatasetFile>& files,
                                          const Tokenizer& tokenizer, const StopCheck& stop = {});

struct TokenStoreResult {
  TokenStore store;
  bool reused = false;
  int64_t empty_documents = 0;  // left out; 0 when reused
};

// Opens `path` when it holds this dataset by this tokenizer already, else makes it.
// kDatasetInvalid, kDiskFull. `stop` is asked for every piece of the files.
absl::StatusOr<TokenStoreResult> OpenOrBuildTokenStore(const std::vector<DatasetFile>& files,
                                                       const Tokenizer& tokenizer,
                                                       const std::filesystem::path& path,
                                                       const StopCheck& stop = {});

}  // namespace lfm2
