#include "server/engine/drafter.h"

#include <algorithm>

namespace lfm2 {
namespace {

constexpr int64_t kReadAtOnce = 512;  // about 0.2 ms of the engine's thread
constexpr int64_t kSaves = 4;         // cost of a step, in drafted tokens
constexpr int64_t kMostAccount = 32;
constexpr int64_t kPassed = 32;  // with an empty account, one of this many drafts is made

}  // namespace

void Drafter::Read(std::span<const int32_t> tokens) {
  const std::span<const int32_t> left = tokens.subspan(static_cast<size_t>(lookup_.size()));
  lookup_.Append(left.first(std::min<size_t>(left.size(), kReadAtOnce)));
  read_all_ = left.size() <= kReadAtOnce;
}

std::vector<int32_t> Drafter::Draft(int64_t most) {
  if (!read_all_) return {};
  const int64_t length = account_ > 0 ? std::min(length_, account_) : 1;
  std::vector<int32_t> draft = lookup_.Draft(std::min(most, length));
  if (draft.empty() || account_ > 0) return draft;
  if (++passed_ < kPassed) return {};
  passed_ = 0;
  return draft;
}

void Drafter::Note(int64_t drafted, int64_t right) {
  account_ = std::clamp<int64_t>(account_ + kSaves * right - drafted, 0, kMostAccount);
  if (right == drafted) {
    length_ = std::min(most_, std::max(length_, 2 * drafted));
  } else {
    length_ = std::min(length_, std::max<int64_t>(right + 1, length_ / 2));
  }
}

}  // namespace lfm2
