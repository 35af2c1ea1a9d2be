// Finds stop strings in a text that arrives in pieces, and holds back text that may become one.
//
// The match is the stop string that is complete first, or the longest if several end at the same
// byte. So the text is cut at the same place however it is divided into tokens. Thread rule: one
// thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lfm2 {

class StopMatcher {
 public:
  // The strings must not be empty. Pieces and stop strings consist of whole UTF-8 characters, and
  // so does the returned text.
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // Adds text; returns the text that can be shown now: everything before the stop string if one
  // matched, otherwise everything except the longest suffix that is the start of a stop string.
  // Always empty after a match.
  std::string Push(std::string_view text);
  // Returns the text that was held back; empty after a match.
  std::string Flush();

  bool matched() const { return !match_.empty(); }
  const std::string& match() const { return match_; }  // empty if there was no match

 private:
  size_t HeldBack() const;  // bytes at the end of held_ that begin a stop string

  std::vector<std::string> stops_;
  std::string held_;
  std::string match_;
};

}  // namespace lfm2
