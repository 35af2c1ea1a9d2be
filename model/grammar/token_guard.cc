#include "model/grammar/token_guard.h"

#include <string_view>

namespace lfm2 {
namespace {

using State = TokenGuard::State;

// Inside a character: how many bytes are missing, and the range of the next one.
constexpr State kBetween = 0, kOneMore = 1, kTwoMore = 2, kThreeMore = 3, kAfterE0 = 4,
                kAfterEd = 5, kAfterF0 = 6, kAfterF4 = 7;
constexpr State kWrong = 255;

State AfterLead(unsigned char byte) {
  if (byte < 0x80) return kBetween;
  if (byte < 0xC2) return kWrong;
  if (byte < 0xE0) return kOneMore;
  if (byte == 0xE0) return kAfterE0;
  if (byte == 0xED) return kAfterEd;
  if (byte < 0xF0) return kTwoMore;
  if (byte == 0xF0) return kAfterF0;
  if (byte < 0xF4) return kThreeMore;
  return byte == 0xF4 ? kAfterF4 : kWrong;
}

State AfterByte(State state, unsigned char byte) {
  const auto within = [byte](unsigned char low, unsigned char high, State next) {
    return byte >= low && byte <= high ? next : kWrong;
  };
  switch (state) {
    case kOneMore:
      return within(0x80, 0xBF, kBetween);
    case kTwoMore:
      return within(0x80, 0xBF, kOneMore);
    case kThreeMore:
      return within(0x80, 0xBF, kTwoMore);
    case kAfterE0:
      return within(0xA0, 0xBF, kOneMore);
    case kAfterEd:
      return within(0x80, 0x9F, kOneMore);
    case kAfterF0:
      return within(0x90, 0xBF, kTwoMore);
    case kAfterF4:
      return within(0x80, 0x8F, kTwoMore);
    default:
      return AfterLead(byte);
  }
}

// A token without text (an end token) is allowed only between two characters.
State AfterToken(State state, std::string_view bytes) {
  if (bytes.empty()) return state == kBetween ? kBetween : kWrong;
  for (const char byte : bytes) {
    state = AfterByte(state, static_cast<unsigned char>(byte));
    if (state == kWrong) break;
  }
  return state;
}

}  // namespace

TokenGuard::TokenGuard(const Tokenizer& tokenizer, int64_t vocab_size) {
  for (size_t state = 0; state < kStates; ++state) {
    masks_[state].assign(MaskWords(vocab_size), 0);
    next_[state].resize(static_cast<size_t>(vocab_size));
  }
  for (int64_t index = 0; index < vocab_size; ++index) {
    const auto id = static_cast<int32_t>(index);
    const std::string bytes = tokenizer.TokenBytes(id, true, false);
    const bool same_at_first = tokenizer.TokenBytes(id, true, true) == bytes;
    for (size_t state = 0; state < kStates; ++state) {
      const bool begins = state == kBeginning;
      State next = AfterToken(begins ? kBetween : static_cast<State>(state), bytes);
      if (begins && !same_at_first) next = kWrong;
      next_[state][static_cast<size_t>(index)] = next;
      if (next == kWrong) continue;
      masks_[state][static_cast<size_t>(index / 32)] |= uint32_t{1} << (index % 32);
    }
  }
}

void TokenGuard::Restrict(State state, TokenMask& mask) const {
  const TokenMask& allowed = masks_[state];
  for (size_t i = 0; i < mask.size(); ++i) mask[i] &= allowed[i];
}

TokenGuard::State TokenGuard::Next(State state, int32_t id) const {
  return next_[state][static_cast<size_t>(id)];
}

}  // namespace lfm2
