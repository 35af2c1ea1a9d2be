// Shows a training run: a progress bar on a terminal, else plain lines; at the end a plot of the
// loss. Thread rule: one thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/calls/session.h"
#include "client/terminal/plot.h"
#include "client/terminal/progress.h"

namespace lfm2 {

class WatchView {
 public:
  // `steps`: the job's total, 0 when unknown.
  WatchView(Session& session, int64_t steps);

  absl::Status OnEvent(const v1::JobEvent& event);
  // Clears the bar and draws the loss.
  absl::Status Finish();

  // From the last state event.
  const std::optional<v1::StateChange>& state() const { return state_; }

 private:
  absl::Status Print(const std::string& line);
  absl::Status OnMetrics(const v1::StepMetrics& metrics);

  Session& session_;
  StatusLine line_;
  TrainProgress progress_;
  std::vector<PlotPoint> losses_;
  std::optional<v1::StateChange> state_;
};

}  // namespace lfm2
