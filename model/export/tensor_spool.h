// Stores tensors that are made one at a time and needed all at once: writes them to a temporary
// file and maps it. Memory: one tensor. Thread rule: one thread.
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
  // Creates the file `path`. Finish removes it; if Finish is not called, it is removed with its
  // directory.
  static absl::StatusOr<TensorSpool> Create(const std::filesystem::path& path);

  // Copies the tensor's bytes.
  absl::Status Add(const TensorView& tensor);
  bool empty() const { return tensors_.empty(); }
  // Returns views of the mapped file, in the order of Add. Add must not be called afterwards.
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
