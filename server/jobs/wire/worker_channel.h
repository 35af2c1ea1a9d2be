// The daemon's end of a worker's socket pair: never blocks. Thread rule: one thread at a time. Owns
// the descriptor.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "server/jobs/wire/frame.h"

namespace lfm2 {

class WorkerChannel {
 public:
  explicit WorkerChannel(int fd) : fd_(fd) {}
  ~WorkerChannel();
  WorkerChannel(const WorkerChannel&) = delete;
  WorkerChannel& operator=(const WorkerChannel&) = delete;

  int fd() const { return fd_; }
  bool closed() const {
    return closed_;
  }  // the worker has closed its end, and all it sent was received
  bool wants_write() const { return !unsent_.empty() && !closed_; }

  void Send(std::string_view payload);  // queued when the socket is full
  void Flush();
  // Appends the messages that are there, up to about 1 MiB a call. kInternal when the stream makes
  // no sense.
  absl::Status Receive(std::vector<std::string>& messages);

 private:
  const int fd_;
  bool closed_ = false;
  std::string unsent_;
  FrameBuffer received_;
};

}  // namespace lfm2
