#include "server/jobs/queue/event_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/disk_full.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "server/jobs/wire/codec.h"

namespace lfm2 {
namespace {

constexpr int64_t kHeaderBytes = 8;
constexpr uint32_t kMaxPayloadBytes = 32 << 20;
constexpr int64_t kStride = 128;  // events between two entries of the index
constexpr size_t kReadBytes = 64 << 10;

absl::Status ErrnoStatus(int code, std::string_view action, const std::string& name) {
  const Reason reason = MeansDiskFull(code) ? Reason::kDiskFull : Reason::kStorageIoError;
  return Error(reason,
               std::string(action) + " the events of job " + name + ": " + std::strerror(code),
               {{"job", name}});
}

uint32_t Crc32(std::string_view bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void PutU32(std::string& out, uint32_t value) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}

uint32_t GetU32(const char* bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  return value;
}

std::string Frame(const std::string& payload) {
  std::string frame;
  PutU32(frame, static_cast<uint32_t>(payload.size()));
  PutU32(frame, Crc32(payload));
  return frame + payload;
}

// Walks the whole frames of [offset, end).
class FrameReader {
 public:
  FrameReader(int fd, int64_t offset, int64_t end) : fd_(fd), offset_(offset), end_(end) {}

  // nullopt: no whole frame with a right checksum stands at the offset. The view lives until the
  // next call.
  absl::StatusOr<std::optional<std::string_view>> Next() {
    LFM2_ASSIGN_OR_RETURN(bool there, Fill(kHeaderBytes));
    if (!there) return std::nullopt;
    const char* header = buffer_.data() + begin_;
    const uint32_t length = GetU32(header), crc = GetU32(header + 4);
    if (length > kMaxPayloadBytes) return std::nullopt;
    LFM2_ASSIGN_OR_RETURN(there, Fill(kHeaderBytes + length));
    if (!there) return std::nullopt;
    const std::string_view payload(buffer_.data() + begin_ + kHeaderBytes, length);
    if (Crc32(payload) != crc) return std::nullopt;
    begin_ += kHeaderBytes + length;
    offset_ += kHeaderBytes + length;
    return payload;
  }

  int64_t offset() const { return offset_; }

 private:
  // Makes `bytes` readable at begin_; false when the file ends before.
  absl::StatusOr<bool> Fill(size_t bytes) {
    if (offset_ + static_cast<int64_t>(bytes) > end_) return false;
    while (buffer_.size() - begin_ < bytes) {
      buffer_.erase(0, begin_);
      begin_ = 0;
      const size_t had = buffer_.size();
      buffer_.resize(std::max(bytes, had + kReadBytes));
      const ssize_t got =
          pread(fd_, buffer_.data() + had, buffer_.size() - had, offset_ + static_cast<off_t>(had));
      if (got < 0 && errno != EINTR) return ErrnoStatus(errno, "reading", "");
      buffer_.resize(had + static_cast<size_t>(std::max<ssize_t>(got, 0)));
      if (got == 0) return false;
    }
    return true;
  }

  const int fd_;
  int64_t offset_;
  const int64_t end_;
  std::string buffer_;
  size_t begin_ = 0;
};

}  // namespace

absl::StatusOr<std::shared_ptr<EventLog>> EventLog::Open(const std::filesystem::path& path,
                                                         int64_t known_seq) {
  const std::string name = path.parent_path().filename().string();
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (fd < 0) return ErrnoStatus(errno, "opening", name);
  std::shared_ptr<EventLog> log(new EventLog(fd, name));
  LFM2_RETURN_IF_ERROR(log->Recover(known_seq));
  return log;
}

EventLog::~EventLog() { close(fd_); }

void EventLog::Count(int64_t frame_bytes) {
  if (last_seq_ % kStride == 0) index_.push_back(size_);
  size_ += frame_bytes;
  ++last_seq_;
}

absl::Status EventLog::Recover(int64_t known_seq) {
  {
    MutexLock lock(mutex_);
    struct stat info;
    if (fstat(fd_, &info) != 0) return ErrnoStatus(errno, "reading", name_);
    FrameReader reader(fd_, 0, info.st_size);
    while (true) {
      LFM2_ASSIGN_OR_RETURN(const std::optional<std::string_view> payload, reader.Next());
      if (!payload) break;
      Count(kHeaderBytes + static_cast<int64_t>(payload->size()));
    }
    if (size_ < info.st_size && ftruncate(fd_, size_) != 0) {
      return ErrnoStatus(errno, "cutting", name_);
    }
  }
  while (last_seq() < known_seq) {
    const std::string text =
        "event " + std::to_string(last_seq() + 1) + " was lost: the log was damaged";
    LFM2_RETURN_IF_ERROR(Append(0, Note{text}).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> EventLog::Append(int64_t at_ms, const JobEventBody& body) {
  MutexLock lock(mutex_);
  const std::string payload = EncodeJobEvent({last_seq_ + 1, at_ms, body});
  if (payload.size() > kMaxPayloadBytes) {
    return Error(Reason::kInternal, "an event has " + std::to_string(payload.size()) +
                                        " bytes, over the limit of " +
                                        std::to_string(kMaxPayloadBytes));
  }
  const std::string frame = Frame(payload);
  size_t written = 0;
  while (written < frame.size()) {
    const ssize_t put = pwrite(fd_, frame.data() + written, frame.size() - written,
                               size_ + static_cast<off_t>(written));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      const int code = errno;
      // A part that stays is no frame, and the next append or opening goes over it.
      if (ftruncate(fd_, size_) != 0) return ErrnoStatus(errno, "cutting", name_);
      return ErrnoStatus(code, "writing", name_);
    }
    written += static_cast<size_t>(put);
  }
  Count(static_cast<int64_t>(frame.size()));
  return last_seq_;
}

absl::Status EventLog::Sync() {
  if (fdatasync(fd_) != 0) return ErrnoStatus(errno, "syncing", name_);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<JobEvent>> EventLog::Read(int64_t from_seq, int max) const {
  from_seq = std::max<int64_t>(from_seq, 1);
  int64_t begin = 0, end = 0, seq = 0;
  {
    MutexLock lock(mutex_);
    if (from_seq > last_seq_) return std::vector<JobEvent>();
    const int64_t entry = (from_seq - 1) / kStride;
    begin = index_[static_cast<size_t>(entry)];
    seq = entry * kStride + 1;
    end = size_;
  }
  std::vector<JobEvent> events;
  FrameReader reader(fd_, begin, end);
  for (; static_cast<int>(events.size()) < max; ++seq) {
    LFM2_ASSIGN_OR_RETURN(const std::optional<std::string_view> payload, reader.Next());
    if (!payload && reader.offset() == end) break;
    if (!payload)
      return Error(Reason::kStorageIoError, "event " + std::to_string(seq) + " is damaged");
    if (seq < from_seq) continue;
    LFM2_ASSIGN_OR_RETURN(JobEvent event, DecodeJobEvent(*payload));
    if (event.seq != seq) {
      return Error(
          Reason::kStorageIoError,
          "event " + std::to_string(seq) + " has another number: " + std::to_string(event.seq));
    }
    events.push_back(std::move(event));
  }
  return events;
}

int64_t EventLog::last_seq() const {
  MutexLock lock(mutex_);
  return last_seq_;
}

absl::StatusOr<std::shared_ptr<EventLog>> EventLogCache::Get(const std::string& job_id,
                                                             int64_t known_seq) {
  std::shared_ptr<EventLog> log;
  if (const auto it = known_.find(job_id); it != known_.end()) log = it->second.lock();
  if (log == nullptr) {
    LFM2_ASSIGN_OR_RETURN(log, EventLog::Open(jobs_dir_ / job_id / "events.log", known_seq));
    known_[job_id] = log;
  }
  recent_.remove_if([&](const auto& entry) { return entry.first == job_id; });
  recent_.emplace_front(job_id, log);
  while (recent_.size() > capacity_) {
    const std::string oldest = recent_.back().first;
    recent_.pop_back();
    if (const auto it = known_.find(oldest); it != known_.end() && it->second.expired())
      known_.erase(it);
  }
  return log;
}

void EventLogCache::Forget(const std::string& job_id) {
  recent_.remove_if([&](const auto& entry) { return entry.first == job_id; });
  known_.erase(job_id);
}

}  // namespace lfm2
