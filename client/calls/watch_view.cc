#include "client/calls/watch_view.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "client/calls/watch.h"
#include "client/terminal/proto_json.h"

namespace lfm2 {
namespace {

constexpr double kSmoothing = 0.1;  // weight of the newest step in the ETA

std::string StateLine(const v1::StateChange& state) {
  std::string text = "state " + EnumWord(state.state());
  if (state.attempt() > 1) text += absl::StrFormat(", attempt %d", state.attempt());
  if (!state.result_version().empty()) text += ", version " + state.result_version();
  if (state.has_error()) text += ": " + state.error().reason() + ": " + state.error().message();
  return text;
}

std::string MetricsLine(const v1::StepMetrics& metrics) {
  return absl::StrFormat("step %d  loss %.4f  lr %.3g  grad norm %.3g  %s tok/s", metrics.step(),
                         metrics.loss(), metrics.lr(), metrics.grad_norm(),
                         FormatCount(metrics.tokens_per_second()));
}

}  // namespace

WatchView::WatchView(Session& session, int64_t steps) : session_(session), line_(session.console) {
  progress_.steps = steps;
}

absl::Status WatchView::Print(const std::string& line) {
  line_.Clear();
  return WriteLine(session_.console, line);
}

absl::Status WatchView::OnMetrics(const v1::StepMetrics& metrics) {
  // After a restart from a checkpoint, steps are repeated: the newer values count.
  while (!losses_.empty() && losses_.back().x >= static_cast<double>(metrics.step()))
    losses_.pop_back();
  losses_.push_back({static_cast<double>(metrics.step()), metrics.loss()});
  progress_.step = metrics.step();
  progress_.loss = metrics.loss();
  progress_.tokens_per_second = metrics.tokens_per_second();
  const double seconds = metrics.step_ms() / 1000;
  if (seconds > 0) {
    const double before = progress_.seconds_per_step.value_or(seconds);
    progress_.seconds_per_step = before + kSmoothing * (seconds - before);
  }
  if (!session_.console.ShowsProgress()) return Print(MetricsLine(metrics));
  line_.Show(FormatTrainProgress(progress_, session_.console.unicode));
  return absl::OkStatus();
}

absl::Status WatchView::OnEvent(const v1::JobEvent& event) {
  switch (event.event_case()) {
    case v1::JobEvent::kState:
      state_ = event.state();
      return Print(StateLine(event.state()));
    case v1::JobEvent::kMetrics:
      return OnMetrics(event.metrics());
    case v1::JobEvent::kEval:
      return Print(
          absl::StrFormat("eval at step %d  loss %.4f", event.eval().step(), event.eval().loss()));
    case v1::JobEvent::kCheckpoint:
      return Print(absl::StrFormat("checkpoint at step %d", event.checkpoint().step()));
    case v1::JobEvent::kNote:
      return Print("note: " + event.note());
    case v1::JobEvent::kProgress:
      line_.Show(absl::StrFormat("%d of %d %s", event.progress().done(), event.progress().total(),
                                 event.progress().what()));
      return absl::OkStatus();
    case v1::JobEvent::kReport:
      return Print(absl::StrFormat("report on %d tensors", event.report().tensors_size()));
    case v1::JobEvent::EVENT_NOT_SET:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status WatchView::Finish() {
  line_.Clear();
  if (session_.console.quiet || losses_.size() < 2) return absl::OkStatus();
  PlotOptions options;
  options.width = std::clamp(session_.console.columns - 16, 20, 100);
  options.braille = session_.console.unicode && session_.console.out_is_terminal;
  options.title = "loss by step";
  return Write(session_.console, RenderPlot(losses_, options));
}

}  // namespace lfm2
