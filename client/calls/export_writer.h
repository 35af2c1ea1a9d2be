// The files of an Export, written so that a destination is absent, as it was, or complete and
// right: each goes to a temporary name beside, is compared with the SHA-256 that the server names,
// is fsynced, and is renamed at the end. Thread rule: one thread. What was not committed is removed
// when the writer goes, also the folders that it made.
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
  std::filesystem::path path;  // empty: it had no place in the target
  int64_t bytes = 0;
  std::string sha256;
};

class ExportWriter {
 public:
  explicit ExportWriter(ExportTarget target) : target_(std::move(target)) {}
  ~ExportWriter();
  ExportWriter(const ExportWriter&) = delete;
  ExportWriter& operator=(const ExportWriter&) = delete;

  // Refuses a folder that holds something already, and a place where nothing can be written. Makes
  // the folders on the way there.
  absl::Status Prepare();
  absl::Status OnFile(const v1::ExportedFile& file);
  absl::Status OnChunk(const std::string& bytes);
  // Compares every file with what the server says, and puts all in place.
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
  std::vector<std::filesystem::path> made_;  // folders on the way, outermost first
  std::optional<Sha256> hash_;               // of the file that is being written
  int fd_ = -1;
  bool committed_ = false;

  static std::string NewSuffix();
};

}  // namespace lfm2
