// Writes the files of an Export so that each destination is absent, unchanged, or complete and
// correct: a file is written under a temporary name beside it, compared with the server's SHA-256,
// fsynced, and renamed at the end. Thread rule: one thread. The destructor removes what was not
// committed, including the folders that the writer made.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/sha256.h"
#include "lfm2/v1/models.pb.h"

namespace lfm2 {

// Where an export goes: a folder that will hold every file, or one path for each kind of file.
struct ExportTarget {
  std::filesystem::path folder;  // when set, all files
  std::filesystem::path npz;     // else *.npz
  std::filesystem::path meta;    // and *.json
};

struct WrittenFile {
  std::string name;            // the server's
  std::filesystem::path path;  // empty: the target has no path for it
  int64_t bytes = 0;
  std::string sha256;
};

class ExportWriter {
 public:
  explicit ExportWriter(ExportTarget target) : target_(std::move(target)) {}
  ~ExportWriter();
  ExportWriter(const ExportWriter&) = delete;
  ExportWriter& operator=(const ExportWriter&) = delete;

  // Refuses a folder that is not empty, and a place that is not writable. Creates missing parent
  // folders.
  absl::Status Prepare();
  absl::Status OnFile(const v1::ExportedFile& file);
  absl::Status OnChunk(const std::string& bytes);
  // Compares every file with the server's sizes and hashes, then renames all into place.
  absl::Status OnDone(const v1::ExportDone& done);
  bool committed() const { return committed_; }
  const std::vector<WrittenFile>& files() const { return files_; }

 private:
  absl::Status CloseCurrent();
  absl::Status Commit();
  absl::Status MakeFolder(const std::filesystem::path& folder);
  std::filesystem::path TemporaryOf(const std::filesystem::path& path) const;

  const ExportTarget target_;
  const std::string suffix_ = NewSuffix();
  std::vector<WrittenFile> files_;
  std::vector<v1::ExportedFile> announced_;
  std::vector<std::filesystem::path> made_;  // parent folders, outermost first
  std::optional<Sha256> hash_;               // of the file being written
  int fd_ = -1;
  bool committed_ = false;

  static std::string NewSuffix();
};

}  // namespace lfm2
