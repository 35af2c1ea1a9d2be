// Finds stop strings in a text that comes in pieces, and holds back what may become one.
//
// The match is the one that is complete first, the longest where two are complete at the same byte:
// the same cut however the text was divided into tokens. Thread rule: one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm2 {

class StopMatcher {
 public:
  // None of the strings is empty. Pieces and stop strings are whole UTF-8 characters, and so is
  // what is released.
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Adds text; returns what can be shown now: everything up to the stop string when one matched,
  // otherwise all but the longest end that begins a stop string. After a match: nothing, ever.
  std::string Push(std::string_view text);
  // What was held back. Nothing after a match.
  std::string Flush();

  bool matched() const { return !match_.empty(); }
  const std::string& match() const { return match_; }  // empty when none

 private:
  size_t HeldBack() const;  // bytes at the end of held_ that begin a stop string

  std::vector<std::string> stops_;
  std::string held_;
  std::string match_;
};

}  // namespace lfm2
