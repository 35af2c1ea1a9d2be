#include "model/export/tensor_spool.h"

#include <system_error>
#include <utility>

#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr int64_t kAlignment = 64;

}  // namespace

absl::StatusOr<TensorSpool> TensorSpool::Create(const std::filesystem::path& path) {
  TensorSpool spool;
  spool.path_ = path;
  LFM2_ASSIGN_OR_RETURN(spool.file_, FileWriter::Create(path));
  return spool;
}

absl::Status TensorSpool::Add(const TensorView& tensor) {
  const std::string padding(static_cast<size_t>((kAlignment - size_ % kAlignment) % kAlignment), 0);
  LFM2_RETURN_IF_ERROR(file_->Append(padding));
  size_ += static_cast<int64_t>(padding.size());
  LFM2_RETURN_IF_ERROR(file_->Append(
      {reinterpret_cast<const char*>(tensor.data), static_cast<size_t>(tensor.bytes)}));
  tensors_.push_back(tensor);
  tensors_.back().data = nullptr;
  offsets_.push_back(size_);
  size_ += tensor.bytes;
  return absl::OkStatus();
}

absl::StatusOr<TensorArchive> TensorSpool::Finish() {
  LFM2_RETURN_IF_ERROR(file_->Close());
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> mapped, MappedFile::Open(path_));
  std::error_code ignored;
  std::filesystem::remove(path_, ignored);
  TensorArchive archive;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    TensorView view = std::move(tensors_[i]);
    view.data = mapped->data() + offsets_[i];
    archive.tensors.push_back(std::move(view));
  }
  archive.AddFile(mapped);
  return archive;
}

}  // namespace lfm2
