#include "model/formats/npz.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>

#include "model/core/errors.h"
#include "model/core/limits.h"
#include "model/core/status_macros.h"
#include "model/formats/file.h"
#include "model/formats/format_error.h"
#include "model/formats/npy_header.h"

namespace lfm2 {
namespace {

constexpr std::string_view kNpySuffix = ".npy";
constexpr int64_t kFirstBlockBytes = 64 << 10;

struct ArchiveCloser {
  void operator()(archive* a) const { archive_read_free(a); }
};
using ArchivePtr = std::unique_ptr<archive, ArchiveCloser>;

// One pass over the members of a zip in memory; what comes out is bounded by what went in.
class ZipStream {
 public:
  ZipStream(std::string_view file, std::span<const std::byte> bytes)
      : file_(file), bytes_(bytes), budget_(Budget(static_cast<int64_t>(bytes.size()))) {}

  absl::Status Open() {
    archive_.reset(archive_read_new());
    if (archive_ == nullptr) return Error(Reason::kOutOfMemory, "no memory for a zip reader");
    archive_read_support_format_zip_seekable(archive_.get());
    if (archive_read_open_memory(archive_.get(), bytes_.data(), bytes_.size()) != ARCHIVE_OK) {
      return Broken();
    }
    return absl::OkStatus();
  }

  // The next member's name; nullopt at the end.
  absl::StatusOr<std::optional<std::string>> NextMember() {
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(archive_.get(), &entry);
    if (code == ARCHIVE_EOF) return std::nullopt;
    if (code != ARCHIVE_OK) return Broken();
    if (++members_ > kDefaultLimits.tensors_per_file) {
      return FileInvalid(
          file_, 0,
          "has more members than the limit of " + std::to_string(kDefaultLimits.tensors_per_file));
    }
    if (archive_entry_filetype(entry) != AE_IFREG) {
      return FileInvalid(file_, 0, "has a member that is not a regular file");
    }
    const char* name = archive_entry_pathname(entry);
    return std::string(name == nullptr ? "" : name);
  }

  // Exactly `bytes` bytes of the member; fewer is an error.
  absl::Status Read(const std::string& member, std::byte* out, int64_t bytes) {
    if (bytes > budget_) return OverBudget(member);
    budget_ -= bytes;
    int64_t filled = 0;
    while (filled < bytes) {
      const la_ssize_t got =
          archive_read_data(archive_.get(), out + filled, static_cast<size_t>(bytes - filled));
      if (got < 0) return Broken();
      if (got == 0) {
        return FileInvalid(
            file_, 0,
            "member \"" + member + "\" ends " + std::to_string(bytes - filled) + " bytes early");
      }
      filled += got;
    }
    return absl::OkStatus();
  }

  absl::Status ExpectEnd(const std::string& member) {
    std::byte extra;
    const la_ssize_t got = archive_read_data(archive_.get(), &extra, 1);
    if (got < 0) return Broken();
    if (got == 0) return absl::OkStatus();
    return FileInvalid(file_, 0, "member \"" + member + "\" is longer than its header says");
  }

  bool Allows(int64_t bytes) const { return bytes <= budget_; }
  absl::Status OverBudget(const std::string& member) const {
    return FileInvalid(file_, 0,
                       "member \"" + member + "\" takes the whole beyond " +
                           std::to_string(kDefaultLimits.archive_ratio) + " bytes out per byte in");
  }

 private:
  static int64_t Budget(int64_t in) {
    int64_t out = 0;
    return CheckedMul(in, kDefaultLimits.archive_ratio, &out) ? out : INT64_MAX;
  }

  absl::Status Broken() const {
    const char* what = archive_error_string(archive_.get());
    return FileInvalid(file_, 0, std::string("zip: ") + (what == nullptr ? "unreadable" : what));
  }

  std::string_view file_;
  std::span<const std::byte> bytes_;
  ArchivePtr archive_;
  int64_t members_ = 0;
  int64_t budget_;
};

using Buffer = std::vector<std::byte>;

// Grows with what really arrives: a header that promises much costs nothing until the bytes come.
absl::Status ReadGrowing(ZipStream& zip, const std::string& member, int64_t bytes, Buffer& out) {
  if (!zip.Allows(bytes)) return zip.OverBudget(member);
  int64_t filled = 0;
  int64_t block = kFirstBlockBytes;
  while (filled < bytes) {
    const int64_t part = std::min(block, bytes - filled);
    out.resize(static_cast<size_t>(filled + part));
    LFM2_RETURN_IF_ERROR(zip.Read(member, out.data() + filled, part));
    filled += part;
    block = filled;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadText(ZipStream& zip, const std::string& member, int64_t bytes) {
  std::string text(static_cast<size_t>(bytes), '\0');
  LFM2_RETURN_IF_ERROR(zip.Read(member, reinterpret_cast<std::byte*>(text.data()), bytes));
  return text;
}

absl::StatusOr<NpyHeader> ReadHeader(ZipStream& zip, const std::string& member) {
  LFM2_ASSIGN_OR_RETURN(const std::string magic, ReadText(zip, member, kNpyMagicBytes));
  LFM2_ASSIGN_OR_RETURN(const int64_t length_bytes, NpyLengthBytes(magic));
  LFM2_ASSIGN_OR_RETURN(const std::string length_text, ReadText(zip, member, length_bytes));
  int64_t length = 0;
  for (size_t i = length_text.size(); i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(length_text[i]);
  }
  if (length > kMaxNpyDictBytes) {
    return Error(Reason::kModelFileInvalid, "header of " + std::to_string(length) +
                                                " bytes is over the limit of " +
                                                std::to_string(kMaxNpyDictBytes));
  }
  LFM2_ASSIGN_OR_RETURN(const std::string dict, ReadText(zip, member, length));
  return ParseNpyDict(dict);
}

absl::StatusOr<TensorView> ReadMember(std::string_view file, ZipStream& zip,
                                      const std::string& member, TensorArchive& archive) {
  absl::StatusOr<NpyHeader> parsed = ReadHeader(zip, member);
  if (!parsed.ok()) {
    if (DetailsOf(parsed.status()).metadata.count("file") != 0) return parsed.status();
    return FileInvalid(file, 0,
                       "member \"" + member + "\": " + std::string(parsed.status().message()));
  }
  NpyHeader header = *std::move(parsed);
  auto buffer = std::make_shared<Buffer>();
  LFM2_RETURN_IF_ERROR(ReadGrowing(zip, member, header.bytes, *buffer));
  LFM2_RETURN_IF_ERROR(zip.ExpectEnd(member));
  TensorView tensor;
  tensor.name = member.substr(0, member.size() - kNpySuffix.size());
  tensor.dtype = header.dtype;
  tensor.shape = std::move(header.shape);
  tensor.bytes = header.bytes;
  tensor.data = buffer->data();
  archive.owners.push_back(std::move(buffer));
  return tensor;
}

}  // namespace

absl::StatusOr<TensorArchive> ParseNpz(std::string_view file_name,
                                       std::span<const std::byte> bytes) {
  ZipStream zip(file_name, bytes);
  LFM2_RETURN_IF_ERROR(zip.Open());
  TensorArchive archive;
  std::set<std::string> names;
  while (true) {
    LFM2_ASSIGN_OR_RETURN(const std::optional<std::string> member, zip.NextMember());
    if (!member) return archive;
    if (member->size() <= kNpySuffix.size() ||
        member->substr(member->size() - kNpySuffix.size()) != kNpySuffix) {
      return FileInvalid(file_name, 0,
                         "member \"" + member->substr(0, 64) + "\" is not a .npy array");
    }
    if (!names.insert(*member).second) {
      return FileInvalid(file_name, 0, "member \"" + *member + "\" appears twice");
    }
    LFM2_ASSIGN_OR_RETURN(TensorView tensor, ReadMember(file_name, zip, *member, archive));
    archive.tensors.push_back(std::move(tensor));
  }
}

absl::StatusOr<TensorArchive> ReadNpz(const std::filesystem::path& path) {
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  return ParseNpz(path.filename().string(), {file->data(), static_cast<size_t>(file->size())});
}

}  // namespace lfm2
