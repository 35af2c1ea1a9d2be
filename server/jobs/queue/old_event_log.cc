#include "server/jobs/queue/old_event_log.h"

#include <zlib.h>

#include <system_error>

#include "base/errors.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr size_t kHeaderBytes = 8;
constexpr uint32_t kMaxPayloadBytes = 32 << 20;

uint32_t Crc32(std::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

uint32_t GetU32(std::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}

}  // namespace

absl::StatusOr<OldEventLog> OldEventLog::Open(const std::filesystem::path& path) {
  OldEventLog log;
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) return log;
  if (!std::filesystem::is_regular_file(status)) {
    return Error(Reason::kStorageIoError,
                 "the events of job " + path.parent_path().filename().string() +
                     " cannot be read: " + path.filename().string() + ": " +
                     (error ? error.message() : "is not a regular file"));
  }
  if (std::filesystem::file_size(path, error) == 0) return log;
  LFM2_ASSIGN_OR_RETURN(log.file_, MappedFile::Open(path));
  return log;
}

std::optional<std::string_view> OldEventLog::Next() {
  if (file_ == nullptr) return std::nullopt;
  const std::string_view rest = file_->text().substr(offset_);
  if (rest.size() < kHeaderBytes) return std::nullopt;
  const uint32_t length = GetU32(rest);
  if (length > kMaxPayloadBytes || rest.size() - kHeaderBytes < length) return std::nullopt;
  const std::string_view payload = rest.substr(kHeaderBytes, length);
  if (Crc32(payload) != GetU32(rest.substr(4))) return std::nullopt;
  offset_ += kHeaderBytes + length;
  return payload;
}

}  // namespace lfm2
