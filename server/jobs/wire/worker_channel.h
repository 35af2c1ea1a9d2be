// The daemon's end of a worker's socket pair. Never blocks. Thread rule: one thread at a time. Owns
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
  }  // the worker has closed its end, and everything that it sent has been received
  bool wants_write() const { return !unsent_.empty() && !closed_; }

  void Send(std::string_view payload);  // queued if the socket is full
  void Flush();
  // Appends the available messages, up to about 1 MiB per call. kInternal if the stream is
  // malformed.
  absl::Status Receive(std::vector<std::string>& messages);

 private:
  const int fd_;
  bool closed_ = false;
  std::string unsent_;
  FrameBuffer received_;
};

}  // namespace lfm2
