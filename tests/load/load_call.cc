#include "tests/load/load_call.h"

#include <utility>

namespace lfm2 {

LoadCall::LoadCall(std::shared_ptr<grpc::Channel> channel, CallPlan plan, Timer& timer, Done done)
    : channel_(std::move(channel)),
      stub_(v1::Generation::NewStub(channel_)),
      plan_(std::move(plan)),
      timer_(timer),
      done_(std::move(done)) {}

void LoadCall::Start(std::shared_ptr<grpc::Channel> channel, CallPlan plan, Timer& timer,
                     std::function<void()> cut, Done done) {
  auto* call = new LoadCall(std::move(channel), std::move(plan), timer, std::move(done));
  const CallPlan& wanted = call->plan_;
  if (wanted.deadline) {
    call->context_->set_deadline(std::chrono::system_clock::now() + *wanted.deadline);
  }
  if (wanted.cancel) {
    timer.After(*wanted.cancel, [context = call->context_] { context->TryCancel(); });
  }
  if (wanted.cut) timer.After(*wanted.cut, std::move(cut));
  call->stub_->async()->Generate(call->context_.get(), &wanted.request, call);
  call->StartRead(&call->event_);
  call->StartCall();
}

double LoadCall::SinceStart() const {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began_)
      .count();
}

void LoadCall::OnReadDone(bool ok) {
  if (!ok) return;  // OnDone comes
  if (event_.has_token()) {
    const Time now = std::chrono::steady_clock::now();
    if (report_.tokens++ == 0) {
      report_.first_token_ms = SinceStart();
    } else {
      report_.gaps_ms.push_back(
          std::chrono::duration<double, std::milli>(now - last_token_).count());
    }
    last_token_ = now;
  }
  if (plan_.read_every.count() == 0) return StartRead(&event_);
  // Between two reads nothing else holds the call open.
  AddHold();
  timer_.After(plan_.read_every, [this] {
    StartRead(&event_);
    RemoveHold();
  });
}

void LoadCall::OnDone(const grpc::Status& status) {
  report_.code = status.error_code();
  report_.message = status.error_message();
  report_.answer_ms = report_.first_token_ms.value_or(SinceStart());
  done_(std::move(report_));
  delete this;
}

}  // namespace lfm2
