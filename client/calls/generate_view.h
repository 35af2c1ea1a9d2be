// Shows the events of Generate: text as it arrives, one JSON object at the end, or one event per
// line. Thread rule: one thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "client/calls/session.h"

namespace lfm2 {

class GenerateView {
 public:
  explicit GenerateView(Session& session) : session_(session) {}

  absl::Status OnEvent(const v1::GenerateResponse& event);
  // Call after the last event or an interruption; in both cases prints what was generated.
  absl::Status Finish();

  const std::string& text() const { return text_; }
  bool ended() const { return ended_; }
  const v1::GenerateEnd& end() const { return end_; }  // empty until it has arrived

 private:
  absl::Status AddText(const std::string& text);
  absl::Status WriteToolCalls() const;
  void AddToken(const v1::GenerateToken& token);
  Json Result() const;
  std::string Summary() const;

  Session& session_;
  v1::GenerateStart start_;
  v1::GenerateEnd end_;
  std::string text_;
  Json token_ids_ = Json::array();
  Json logprobs_ = Json::array();
  bool ended_ = false;
};

}  // namespace lfm2
