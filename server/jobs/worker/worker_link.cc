#include "server/jobs/worker/worker_link.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "server/jobs/wire/codec.h"

namespace lfm2 {

absl::StatusOr<std::unique_ptr<WorkerLink>> WorkerLink::Connect(int socket,
                                                                WorkerLinkOptions options) {
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::unique_ptr<WorkerLink> link(new WorkerLink(socket, wake, std::move(options)));
  if (wake < 0) return Error(Reason::kInternal, "no descriptor for the worker's link");
  LFM2_RETURN_IF_ERROR(link->ReceiveOrder());
  link->thread_ = std::thread([raw = link.get()] { raw->Run(); });
  return link;
}

WorkerLink::WorkerLink(int socket, int wake, WorkerLinkOptions options)
    : socket_(socket), wake_(wake), options_(std::move(options)) {}

WorkerLink::~WorkerLink() {
  if (thread_.joinable()) {
    eventfd_write(wake_, 1);
    thread_.join();
  }
  close(socket_);
  if (wake_ >= 0) close(wake_);
}

absl::Status WorkerLink::ReceiveOrder() {
  char buffer[16 << 10];
  std::optional<std::string> payload;
  while (!payload) {
    const ssize_t got = recv(socket_, buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return Error(Reason::kInternal, "the daemon closed the link before it gave an order");
    received_.Append({buffer, static_cast<size_t>(got)});
    LFM2_ASSIGN_OR_RETURN(payload, received_.Next());
  }
  LFM2_ASSIGN_OR_RETURN(ToWorker message, DecodeToWorker(*payload));
  Order* order = std::get_if<Order>(&message);
  if (order == nullptr)
    return Error(Reason::kInternal, "the daemon's first message is not an order");
  if (order->heartbeat.count() <= 0 || order->lease.count() <= 0) {
    return Error(Reason::kInternal, "the order lacks the heartbeat or the lease");
  }
  order_ = std::move(*order);
  MutexLock lock(lease_mutex_);
  leased_at_ = options_.clock->Now();
  return absl::OkStatus();
}

void WorkerLink::Send(const FromWorker& message) {
  const std::string frame = MakeFrame(EncodeFromWorker(message));
  MutexLock lock(send_mutex_);
  std::string_view rest = frame;
  while (!rest.empty()) {
    const ssize_t sent = send(socket_, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) {
      options_.on_lost();
      return;
    }
    rest.remove_prefix(static_cast<size_t>(sent));
  }
}

void WorkerLink::Report(const JobEventBody& body) { Send(FromWorker(body)); }

void WorkerLink::Finish(const WorkerResult& result) { Send(FromWorker(result)); }

bool WorkerLink::StopRequested() {
  return stop_.load() || (options_.stop_signal != nullptr && options_.stop_signal->load());
}

bool WorkerLink::MayPublish() {
  MutexLock lock(lease_mutex_);
  return options_.clock->Now() - leased_at_ < order_.lease;
}

void WorkerLink::Beat() {
  {
    // Taken before sending, because the lease counts from here, however late the answer is read.
    MutexLock lock(lease_mutex_);
    unanswered_.push_back(options_.clock->Now());
  }
  Send(FromWorker(Heartbeat{}));
}

void WorkerLink::Handle(const ToWorker& message) {
  if (std::holds_alternative<StopRequest>(message)) stop_ = true;
  const LeaseGrant* grant = std::get_if<LeaseGrant>(&message);
  if (grant == nullptr) return;
  MutexLock lock(lease_mutex_);
  if (unanswered_.empty()) return;
  if (grant->token == order_.fencing_token) leased_at_ = unanswered_.front();
  unanswered_.pop_front();
}

bool WorkerLink::Hear() {
  char buffer[4 << 10];
  const ssize_t got = recv(socket_, buffer, sizeof(buffer), MSG_DONTWAIT);
  if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  if (got == 0) return false;
  received_.Append({buffer, static_cast<size_t>(got)});
  while (true) {
    const absl::StatusOr<std::optional<std::string>> payload = received_.Next();
    if (!payload.ok()) return false;
    if (!*payload) return true;
    const absl::StatusOr<ToWorker> message = DecodeToWorker(**payload);
    if (!message.ok()) return false;
    Handle(*message);
  }
}

void WorkerLink::Run() {
  using std::chrono::milliseconds;
  auto next = std::chrono::steady_clock::now();
  while (true) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= next) {
      Beat();
      next = now + order_.heartbeat;
    }
    pollfd waits[2] = {{socket_, POLLIN, 0}, {wake_, POLLIN, 0}};
    const auto left =
        std::chrono::duration_cast<milliseconds>(next - std::chrono::steady_clock::now());
    poll(waits, 2, static_cast<int>(std::max<int64_t>(left.count() + 1, 0)));
    if (waits[1].revents != 0) return;
    if (waits[0].revents != 0 && !Hear()) {
      options_.on_lost();
      return;
    }
  }
}

}  // namespace lfm2
