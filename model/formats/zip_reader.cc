#include "model/formats/zip_reader.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>

#include "base/errors.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

constexpr int64_t kFirstBlockBytes = 64 << 10;

int64_t BudgetFor(int64_t bytes_in) {
  int64_t out = 0;
  return CheckedMul(bytes_in, kDefaultLimits.archive_ratio, &out) ? out : INT64_MAX;
}

}  // namespace

void ZipReader::Closer::operator()(archive* a) const { archive_read_free(a); }

absl::StatusOr<ZipReader> ZipReader::Open(std::string_view file, std::span<const std::byte> bytes) {
  ZipReader reader(file, BudgetFor(static_cast<int64_t>(bytes.size())));
  if (bytes.empty()) return FileInvalid(file, 0, "is empty, not a zip");
  reader.archive_.reset(archive_read_new());
  if (reader.archive_ == nullptr) {
    return Error(Reason::kOutOfMemory, "no memory for a zip reader");
  }
  archive_read_support_format_zip_seekable(reader.archive_.get());
  if (archive_read_open_memory(reader.archive_.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return reader.Broken();
  }
  return reader;
}

absl::StatusOr<std::optional<std::string>> ZipReader::NextMember() {
  archive_entry* entry = nullptr;
  const int code = archive_read_next_header(archive_.get(), &entry);
  if (code == ARCHIVE_EOF) return std::optional<std::string>();
  if (code != ARCHIVE_OK) return Broken();
  if (++members_ > kDefaultLimits.tensors_per_file) {
    return FileInvalid(
        file_, 0,
        "has more members than the limit of " + std::to_string(kDefaultLimits.tensors_per_file));
  }
  const char* name = archive_entry_pathname(entry);
  member_ = name == nullptr ? "" : name;
  if (archive_entry_filetype(entry) != AE_IFREG) return Invalid("is not a regular file");
  return std::optional<std::string>(member_);
}

absl::StatusOr<ZipReader::Buffer> ZipReader::Read(int64_t bytes) {
  if (bytes > budget_) return OverBudget();
  Buffer out;
  int64_t filled = 0;
  // Grows as data arrives, so a header that claims a large size allocates no memory by itself.
  while (filled < bytes) {
    const int64_t part = std::min(std::max(kFirstBlockBytes, filled), bytes - filled);
    out.resize(static_cast<size_t>(filled + part));
    LFM2_ASSIGN_OR_RETURN(const int64_t got, ReadSome(out.data() + filled, part));
    if (got < part) return Invalid("ends " + std::to_string(bytes - filled - got) + " bytes early");
    filled += part;
  }
  return out;
}

absl::StatusOr<ZipReader::Buffer> ZipReader::ReadRest(int64_t max_bytes) {
  Buffer out;
  while (true) {
    const int64_t filled = static_cast<int64_t>(out.size());
    const int64_t part = std::max(kFirstBlockBytes, filled);
    out.resize(static_cast<size_t>(filled + part));
    LFM2_ASSIGN_OR_RETURN(const int64_t got, ReadSome(out.data() + filled, part));
    out.resize(static_cast<size_t>(filled + got));
    if (static_cast<int64_t>(out.size()) > max_bytes) {
      return Invalid("has more bytes than the limit of " + std::to_string(max_bytes));
    }
    if (got < part) return out;
  }
}

absl::Status ZipReader::ExpectMemberEnd() {
  std::byte extra;
  LFM2_ASSIGN_OR_RETURN(const int64_t got, ReadSome(&extra, 1));
  return got == 0 ? absl::OkStatus() : Invalid("is longer than its header says");
}

absl::Status ZipReader::Invalid(std::string_view rule) const {
  return FileInvalid(file_, 0, "member \"" + member_.substr(0, 128) + "\" " + std::string(rule));
}

// Returns fewer bytes than requested only at the member's end.
absl::StatusOr<int64_t> ZipReader::ReadSome(std::byte* out, int64_t bytes) {
  int64_t filled = 0;
  while (filled < bytes) {
    const la_ssize_t got =
        archive_read_data(archive_.get(), out + filled, static_cast<size_t>(bytes - filled));
    if (got < 0) return Broken();
    if (got == 0) break;
    if (got > budget_) return OverBudget();
    budget_ -= got;
    filled += got;
  }
  return filled;
}

absl::Status ZipReader::OverBudget() const {
  return Invalid("makes the total exceed the limit of " +
                 std::to_string(kDefaultLimits.archive_ratio) + " bytes out per byte in");
}

absl::Status ZipReader::Broken() const {
  const char* what = archive_error_string(archive_.get());
  return FileInvalid(file_, 0, std::string("zip: ") + (what == nullptr ? "unreadable" : what));
}

}  // namespace lfm2
