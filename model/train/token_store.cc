#include "model/train/token_store.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "model/formats/dataset.h"

namespace lfm2 {
namespace {

static_assert(sizeof(int64_t) == 8);
constexpr char kMagic[] = "LFM2TOK1";
constexpr size_t kKeyBytes = 64;
constexpr size_t kBufferBytes = 1 << 20;

struct Footer {
  char key[kKeyBytes];
  int64_t tokens;
  int64_t documents;
  int64_t max_id;
  char magic[8];
};
static_assert(sizeof(Footer) == 96);
constexpr int64_t kFooterBytes = sizeof(Footer);

int64_t PaddedTokenBytes(int64_t tokens) { return (tokens * 4 + 7) / 8 * 8; }

absl::Status Broken(std::string_view rule) {
  return Error(Reason::kStorageIoError, absl::StrCat("tokens.bin: ", std::string(rule)));
}

// The BOS token that the tokenizer's own encoding puts before a text, if any.
absl::StatusOr<std::optional<int32_t>> LeadingBos(const Tokenizer& tokenizer) {
  if (!tokenizer.bos()) return std::optional<int32_t>();
  LFM2_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                        tokenizer.Encode("a", {.add_special = true, .parse_special = false}));
  if (ids.empty() || ids.front() != *tokenizer.bos()) return std::optional<int32_t>();
  return tokenizer.bos();
}

// Writes tokens to one file and document ends to another, which is appended to the first at the
// end.
class StoreWriter {
 public:
  static absl::StatusOr<StoreWriter> Create(const std::filesystem::path& tokens_path,
                                            const std::filesystem::path& ends_path) {
    StoreWriter writer;
    LFM2_ASSIGN_OR_RETURN(writer.tokens_file_, FileWriter::Create(tokens_path));
    LFM2_ASSIGN_OR_RETURN(writer.ends_file_, FileWriter::Create(ends_path));
    return writer;
  }

  absl::Status Append(std::span<const int32_t> ids) {
    for (int32_t id : ids) max_id_ = std::max(max_id_, id);
    tokens_ += static_cast<int64_t>(ids.size());
    return Buffer(token_buffer_, *tokens_file_, ids.data(), ids.size_bytes());
  }

  absl::Status EndDocument() {
    if (tokens_ == last_end_) return absl::OkStatus();
    last_end_ = tokens_;
    ++documents_;
    return Buffer(end_buffer_, *ends_file_, &tokens_, sizeof(tokens_));
  }

  absl::Status Finish(const std::string& key, const std::filesystem::path& ends_path) {
    token_buffer_.resize(token_buffer_.size() +
                         static_cast<size_t>(PaddedTokenBytes(tokens_) - tokens_ * 4));
    LFM2_RETURN_IF_ERROR(tokens_file_->Append(token_buffer_));
    LFM2_RETURN_IF_ERROR(ends_file_->Append(end_buffer_));
    LFM2_RETURN_IF_ERROR(ends_file_->Close());
    if (documents_ > 0) {
      LFM2_ASSIGN_OR_RETURN(const auto ends, MappedFile::Open(ends_path));
      LFM2_RETURN_IF_ERROR(tokens_file_->Append(ends->text()));
    }
    Footer footer = {};
    key.copy(footer.key, kKeyBytes);
    footer.tokens = tokens_;
    footer.documents = documents_;
    footer.max_id = max_id_;
    std::memcpy(footer.magic, kMagic, sizeof(footer.magic));
    LFM2_RETURN_IF_ERROR(
        tokens_file_->Append({reinterpret_cast<const char*>(&footer), sizeof(footer)}));
    return tokens_file_->Close();
  }

 private:
  static absl::Status Buffer(std::string& buffer, FileWriter& file, const void* data,
                             size_t bytes) {
    buffer.append(static_cast<const char*>(data), bytes);
    if (buffer.size() < kBufferBytes) return absl::OkStatus();
    LFM2_RETURN_IF_ERROR(file.Append(buffer));
    buffer.clear();
    return absl::OkStatus();
  }

  std::unique_ptr<FileWriter> tokens_file_, ends_file_;
  std::string token_buffer_, end_buffer_;
  int64_t tokens_ = 0, documents_ = 0, last_end_ = 0;
  int32_t max_id_ = 0;
};

// Parameters for reading the text of each file.
struct Reading {
  const Tokenizer& tokenizer;
  std::optional<int32_t> bos, eos;
  const StopCheck& stop;
};

// Returns the number of empty documents.
absl::StatusOr<int64_t> TokenizeFile(const DatasetFile& file, const Reading& reading,
                                     StoreWriter& writer) {
  LFM2_ASSIGN_OR_RETURN(auto reader, DatasetReader::Open(file.path, DatasetFormatOf(file.name)));
  int64_t empty_documents = 0;
  bool document_open = false;
  while (true) {
    LFM2_RETURN_IF_ERROR(CheckStop(reading.stop));
    LFM2_ASSIGN_OR_RETURN(const std::optional<DocumentPiece> piece, reader->Next());
    if (!piece) return empty_documents;
    LFM2_ASSIGN_OR_RETURN(
        std::vector<int32_t> ids,
        reading.tokenizer.Encode(piece->text, {.add_special = false, .parse_special = false}));
    if (!document_open && ids.empty() && !piece->continues) {
      ++empty_documents;
      continue;
    }
    if (!document_open && reading.bos) ids.insert(ids.begin(), *reading.bos);
    if (!piece->continues && reading.eos) ids.push_back(*reading.eos);
    LFM2_RETURN_IF_ERROR(writer.Append(ids));
    if (!piece->continues) LFM2_RETURN_IF_ERROR(writer.EndDocument());
    document_open = piece->continues;
  }
}

// The temporary files of a build; they are removed when it ends, also after an error.
struct Aside {
  std::filesystem::path tokens, ends;
  ~Aside() {
    std::error_code ignored;
    std::filesystem::remove(tokens, ignored);
    std::filesystem::remove(ends, ignored);
  }
};

absl::StatusOr<int64_t> Build(const std::vector<DatasetFile>& files, const Tokenizer& tokenizer,
                              const std::string& key, const std::filesystem::path& path,
                              const StopCheck& stop) {
  const Aside aside{path.string() + ".tmp", path.string() + ".ends.tmp"};
  LFM2_ASSIGN_OR_RETURN(StoreWriter writer, StoreWriter::Create(aside.tokens, aside.ends));
  LFM2_ASSIGN_OR_RETURN(const std::optional<int32_t> bos, LeadingBos(tokenizer));
  const Reading reading{tokenizer, bos, tokenizer.eos(), stop};
  int64_t empty_documents = 0;
  for (const DatasetFile& file : files) {
    const absl::StatusOr<int64_t> empty = TokenizeFile(file, reading, writer);
    if (!empty.ok()) return Annotate(empty.status(), file.name);
    empty_documents += *empty;
  }
  LFM2_RETURN_IF_ERROR(writer.Finish(key, aside.ends));
  std::error_code error;
  std::filesystem::rename(aside.tokens, path, error);
  if (error) return Broken(absl::StrCat("cannot be renamed into place: ", error.message()));
  LFM2_RETURN_IF_ERROR(SyncDirectory(path.parent_path()));
  return empty_documents;
}

}  // namespace

absl::StatusOr<TokenStore> TokenStore::Open(const std::filesystem::path& path) {
  TokenStore store;
  LFM2_ASSIGN_OR_RETURN(store.file_, MappedFile::Open(path));
  const int64_t size = store.file_->size();
  if (size < kFooterBytes) return Broken("shorter than its footer");
  Footer footer;
  std::memcpy(&footer, store.file_->data() + size - kFooterBytes, sizeof(footer));
  if (std::memcmp(footer.magic, kMagic, sizeof(footer.magic)) != 0) return Broken("no footer");
  const int64_t most = size / 4;
  if (footer.tokens < 0 || footer.tokens > most || footer.documents < 0 ||
      footer.documents > most ||
      PaddedTokenBytes(footer.tokens) + footer.documents * 8 + kFooterBytes != size) {
    return Broken("its counts contradict its size");
  }
  const std::byte* data = store.file_->data();
  store.tokens_ = {reinterpret_cast<const int32_t*>(data), static_cast<size_t>(footer.tokens)};
  store.document_ends_ = {reinterpret_cast<const int64_t*>(data + PaddedTokenBytes(footer.tokens)),
                          static_cast<size_t>(footer.documents)};
  int64_t previous = 0;
  for (int64_t end : store.document_ends_) {
    if (end <= previous) return Broken("its document ends do not ascend");
    previous = end;
  }
  if (previous != footer.tokens) return Broken("its documents do not end where its tokens end");
  store.key_ = std::string(footer.key, kKeyBytes);
  store.max_id_ = static_cast<int32_t>(footer.max_id);
  return store;
}

absl::StatusOr<std::string> TokenStoreKey(const std::vector<DatasetFile>& files,
                                          const Tokenizer& tokenizer, const StopCheck& stop) {
  Sha256 hash;
  hash.Update(absl::StrCat("lfm2 token store 1\n", tokenizer.kind(), " ", tokenizer.sha256()));
  for (const DatasetFile& file : files) {
    LFM2_ASSIGN_OR_RETURN(const std::string content, Sha256OfFile(file.path, stop));
    const bool jsonl = DatasetFormatOf(file.name) == DatasetFormat::kJsonl;
    hash.Update(absl::StrCat("\n", jsonl ? "jsonl " : "text ", content));
  }
  return hash.Hex();
}

absl::StatusOr<TokenStoreResult> OpenOrBuildTokenStore(const std::vector<DatasetFile>& files,
                                                       const Tokenizer& tokenizer,
                                                       const std::filesystem::path& path,
                                                       const StopCheck& stop) {
  LFM2_ASSIGN_OR_RETURN(const std::string key, TokenStoreKey(files, tokenizer, stop));
  TokenStoreResult result;
  if (absl::StatusOr<TokenStore> there = TokenStore::Open(path);
      there.ok() && there->key() == key) {
    result.store = *std::move(there);
    result.reused = true;
    return result;
  }
  LFM2_ASSIGN_OR_RETURN(result.empty_documents, Build(files, tokenizer, key, path, stop));
  LFM2_ASSIGN_OR_RETURN(result.store, TokenStore::Open(path));
  return result;
}

}  // namespace lfm2
