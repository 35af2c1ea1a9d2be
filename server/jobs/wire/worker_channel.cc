#include "server/jobs/wire/worker_channel.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "base/status_macros.h"

namespace lfm2 {

WorkerChannel::~WorkerChannel() { close(fd_); }

void WorkerChannel::Send(std::string_view payload) {
  unsent_ += MakeFrame(payload);
  Flush();
}

void WorkerChannel::Flush() {
  while (!unsent_.empty()) {
    const ssize_t sent = send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      // The receiving side detects a dead worker; its unsent messages are dropped.
      if (errno != EAGAIN && errno != EWOULDBLOCK) unsent_.clear();
      return;
    }
    unsent_.erase(0, static_cast<size_t>(sent));
  }
}

absl::Status WorkerChannel::Receive(std::vector<std::string>& messages) {
  char buffer[64 << 10];
  for (int round = 0; round < 16 && !closed_; ++round) {
    const ssize_t got = recv(fd_, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (got <= 0) {
      closed_ = true;
      break;
    }
    received_.Append({buffer, static_cast<size_t>(got)});
  }
  while (true) {
    LFM2_ASSIGN_OR_RETURN(std::optional<std::string> message, received_.Next());
    if (!message) return absl::OkStatus();
    messages.push_back(*std::move(message));
  }
}

}  // namespace lfm2
