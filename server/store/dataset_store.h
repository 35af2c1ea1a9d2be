// Uploaded files, stored by content: data_dir/datasets/<sha256>/{data, meta.json}. The id is
// "sha256:<hex>". Thread rule: any thread; one DatasetUpload belongs to one thread at a time. An
// upload that is not committed leaves no files behind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/limits.h"

namespace lfm2 {

struct DatasetInfo {
  std::string id;
  std::string name;
  int64_t bytes = 0;
  int64_t created_at_ms = 0;
  bool existed = false;
};

// The hash in an id "sha256:<hex>"; nullopt when the text is not such an id.
std::optional<std::string> DatasetHashOf(std::string_view id);
// The path at which a store with this root keeps the file with this hash.
std::filesystem::path DatasetFileUnder(const std::filesystem::path& root, const std::string& hash);

class DatasetStore;

class DatasetUpload {
 public:
  ~DatasetUpload();
  absl::Status Append(std::string_view bytes);  // kMessageTooLarge past the limit, kDiskFull
  // Ends the upload. `sha256`: the expected hash in lower-case hexadecimal, with or without
  // "sha256:"; empty: not checked. kDatasetHashMismatch.
  absl::StatusOr<DatasetInfo> Commit(const std::string& sha256);

 private:
  friend class DatasetStore;
  DatasetUpload(DatasetStore& store, std::string name, std::filesystem::path path,
                std::unique_ptr<FileWriter> writer);
  DatasetStore& store_;
  std::string name_;
  std::filesystem::path path_;
  std::unique_ptr<FileWriter> writer_;
  Sha256 hash_;
  int64_t bytes_ = 0;
};

class DatasetStore {
 public:
  // `root` is data_dir/datasets. Removes what interrupted uploads left behind.
  static absl::StatusOr<std::unique_ptr<DatasetStore>> Open(const std::filesystem::path& root,
                                                            const Limits& limits, Clock& clock);
  absl::StatusOr<std::unique_ptr<DatasetUpload>> Begin(const std::string& file_name);
  absl::StatusOr<DatasetInfo> Get(const std::string& id) const;  // kDatasetNotFound
  absl::StatusOr<std::vector<DatasetInfo>> List() const;         // newest first
  // The path of a dataset whose id Get accepted.
  std::filesystem::path FileOf(const std::string& id) const;

 private:
  friend class DatasetUpload;
  DatasetStore(std::filesystem::path root, const Limits& limits, Clock& clock);
  absl::StatusOr<DatasetInfo> Publish(const std::filesystem::path& aside, DatasetInfo info) const;
  absl::StatusOr<DatasetInfo> Existing(const std::string& id) const;

  const std::filesystem::path root_;
  const Limits limits_;
  Clock& clock_;
};

}  // namespace lfm2
