#include "server/rpc/transport/event_stream.h"

#include "absl/strings/str_cat.h"
#include "base/errors.h"

namespace lfm2 {

void EventStream::Open() {
  self_ = shared_from_this();
  call_.core().calls.Add(self_);
}

absl::Status EventStream::SlowReader(std::string_view what) const {
  return Error(Reason::kSlowReader, what);
}

absl::Status EventStream::GivenUp(std::string_view how) const {
  return call_.GivenUpAtDeadline() ? Error(LateReason(), "the client's deadline has passed")
                                   : Error(Reason::kCancelled, how);
}

absl::Status EventStream::WhyStopped() const {
  if (!stopped_) return absl::OkStatus();
  MutexLock lock(mutex_);
  return status_;
}

void EventStream::CutLocked(const absl::Status& status) {
  if (finished_ || cut_) return;
  cut_ = true;
  ended_ = true;
  buffer_.clear();
  status_ = status;
  stopped_ = true;
}

bool EventStream::Push(const google::protobuf::MessageLite& event) {
  grpc::ByteBuffer bytes = SerializeReply(event);
  const size_t limit = buffer_limit();
  // A step that starts while the buffer has room may add one more event for each accepted guess.
  const auto step = static_cast<size_t>(call_.services().limits.speculative_tokens);
  bool taken = false;
  {
    MutexLock lock(mutex_);
    if (ended_) return false;
    if (buffer_.size() < limit + step) {
      buffer_.push_back(std::move(bytes));
      taken = true;
      if (buffer_.size() >= limit && !full_since_) full_since_ = call_.services().clock.Now();
    } else {
      CutLocked(
          SlowReader(absl::StrCat(limit, " events wait for the reader, the limit is ", limit)));
    }
  }
  Pump();
  if (!taken) TellStopped();
  return taken;
}

void EventStream::End(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    ended_ = true;
    held_ = false;
    status_ = status;
  }
  Pump();
}

void EventStream::EndWith(const google::protobuf::MessageLite& event) {
  grpc::ByteBuffer bytes = SerializeReply(event);
  {
    MutexLock lock(mutex_);
    if (ended_) return;
    ended_ = true;
    buffer_.push_back(std::move(bytes));
  }
  Pump();
}

void EventStream::Cut(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    CutLocked(status);
  }
  Pump();
  TellStopped();
}

void EventStream::Hold() {
  MutexLock lock(mutex_);
  held_ = true;
}

void EventStream::Release() {
  {
    MutexLock lock(mutex_);
    held_ = false;
  }
  Pump();
}

bool EventStream::HasBacklog() {
  MutexLock lock(mutex_);
  return !buffer_.empty();
}

bool EventStream::HasRoom() {
  MutexLock lock(mutex_);
  return buffer_.size() < buffer_limit();
}

void EventStream::EndIfStuck(SteadyTime now) {
  const Limits& limits = call_.services().limits;
  const auto reached = [now](SteadyTime since, int64_t timeout_ms) {
    return now - since >= std::chrono::milliseconds(timeout_ms);
  };
  {
    MutexLock lock(mutex_);
    if (finished_) return;
    if (write_in_flight_ && reached(write_started_, limits.slow_reader_timeout_ms)) {
      CutLocked(SlowReader(
          absl::StrCat("the client read nothing for ", limits.slow_reader_timeout_ms, " ms")));
      sever_ = true;
    } else if (!cut_ && full_since_ && reached(*full_since_, limits.full_buffer_timeout_ms)) {
      CutLocked(SlowReader(absl::StrCat("the client was ", buffer_limit(), " events behind for ",
                                        limits.full_buffer_timeout_ms, " ms")));
    } else {
      return;
    }
  }
  Pump();
  TellStopped();
}

void EventStream::OnWorker(std::function<void()> work) {
  call_.OnWorker([self = shared_from_this(), work = std::move(work)] { work(); },
                 [self = shared_from_this()](const absl::Status& status) { self->Cut(status); });
}

void EventStream::OnWriteDone(bool ok) {
  bool room = false;
  const absl::Status gone = ok ? absl::OkStatus() : GivenUp("the client disconnected");
  {
    MutexLock lock(mutex_);
    write_in_flight_ = false;
    if (!ok) CutLocked(gone);
    room = buffer_.empty() && !ended_ && !held_;
  }
  Pump();
  if (!ok) TellStopped();
  if (room) OnRoom();
}

void EventStream::OnCancel() {
  // The library also cancels at the client's deadline; either way the client no longer waits.
  const absl::Status status = GivenUp("the client cancelled");
  {
    MutexLock lock(mutex_);
    CutLocked(status);
  }
  Pump();
  TellStopped();
}

void EventStream::OnDone() {
  OnClosed();
  call_.core().calls.Remove(this);
  call_.Close();
  const std::shared_ptr<EventStream> last = std::move(self_);
}

void EventStream::TellStopped() {
  if (!stopped_ || told_stopped_.exchange(true)) return;
  OnStopped();
}

EventStream::Action EventStream::Decide() {
  if (finished_ || severing_) return Action::kNone;
  if (write_in_flight_) {
    if (!sever_) return Action::kNone;
    sever_ = false;
    severing_ = true;
    return Action::kSever;
  }
  if (held_ && !cut_) return Action::kNone;
  if (!cut_ && !buffer_.empty()) {
    writing_.Swap(&buffer_.front());
    buffer_.pop_front();
    if (buffer_.size() <= buffer_limit() / 2) full_since_.reset();
    write_in_flight_ = true;
    write_started_ = call_.services().clock.Now();
    return Action::kWrite;
  }
  if (!ended_) return Action::kNone;
  finished_ = true;
  return Action::kFinish;
}

void EventStream::Pump() {
  Action action;
  absl::Status status;
  {
    MutexLock lock(mutex_);
    action = Decide();
    status = status_;
  }
  switch (action) {
    case Action::kNone:
      return;
    case Action::kWrite:
      StartWrite(&writing_);
      return;
    case Action::kFinish:
      Finish(call_.Conclude(status));
      return;
    case Action::kSever:
      call_.Sever(status);
      {
        MutexLock lock(mutex_);
        severing_ = false;
      }
      return Pump();  // the write may have ended meanwhile
  }
}

}  // namespace lfm2
