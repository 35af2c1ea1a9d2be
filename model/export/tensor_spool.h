// Tensors that are made one at a time and needed all at once: written to a file without a name and
// mapped. Memory: one tensor. Thread rule: one thread.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

class TensorSpool {
 public:
  // Makes the file `path`; it is removed by Finish, and with the directory that holds it when that
  // never comes.
  static absl::StatusOr<TensorSpool> Create(const std::filesystem::path& path);

  // Copies the tensor's bytes.
  absl::Status Add(const TensorView& tensor);
  bool empty() const { return tensors_.empty(); }
  // Views of the mapped file, in the order of Add. Ends the spool.
  absl::StatusOr<TensorArchive> Finish();

 private:
  TensorSpool() = default;
  std::filesystem::path path_;
  std::unique_ptr<FileWriter> file_;
  std::vector<TensorView> tensors_;  // without data
  std::vector<int64_t> offsets_;
  int64_t size_ = 0;
};

}  // namespace lfm2
