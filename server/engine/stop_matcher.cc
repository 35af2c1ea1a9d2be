#include "server/engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace lfm2 {

std::string StopMatcher::Push(std::string_view text) {
  if (matched()) return "";
  held_ += text;
  size_t cut = std::string::npos;
  size_t first_end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const size_t end = begin + stop.size();
    if (end > first_end || (end == first_end && begin >= cut)) continue;
    first_end = end;
    cut = begin;
    match_ = stop;
  }
  if (!matched()) cut = held_.size() - HeldBack();
  std::string released = held_.substr(0, cut);
  held_.erase(0, matched() ? std::string::npos : cut);
  return released;
}

std::string StopMatcher::Flush() { return std::exchange(held_, std::string()); }

size_t StopMatcher::HeldBack() const {
  size_t longest = 0;
  const std::string_view held = held_;
  for (const std::string& stop : stops_) {
    for (size_t size = std::min(stop.size() - 1, held.size()); size > longest; --size) {
      if (held.substr(held.size() - size) == std::string_view(stop).substr(0, size)) longest = size;
    }
  }
  return longest;
}

}  // namespace lfm2
