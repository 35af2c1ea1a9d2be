#include "model/grammar/grammar_matcher.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <utility>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/grammar/grammar_object.h"
#include "model/grammar/token_guard.h"

namespace lfm2 {
namespace {

constexpr TVMFFIAny kNone{};

absl::Status LibraryError(const absl::Status& status) {
  return Error(Reason::kInternal,
               "the grammar failed during generation: " + std::string(status.message()));
}

bool Asks(const XgrammarLibrary& library, XgrammarLibrary::Function question,
          const XgrammarValue& matcher) {
  const auto answer = library.Call(question, {&matcher.view(), 1});
  return answer.ok() && answer->is_true();
}

absl::StatusOr<XgrammarValue> MatcherOf(const XgrammarLibrary& library,
                                        const XgrammarValue& compiled, bool ends_when_complete) {
  const std::array args = {compiled.view(), kNone, XgrammarBool(ends_when_complete),
                           XgrammarInt(-1), kNone};
  absl::StatusOr<XgrammarValue> matcher = library.Call(library.make_matcher, args);
  if (!matcher.ok()) return LibraryError(matcher.status());
  return matcher;
}

absl::Status FillMask(const XgrammarLibrary& library, const XgrammarValue& matcher,
                      TokenMask& mask) {
  // The library does not write the mask when every token is allowed.
  std::fill(mask.begin(), mask.end(), ~uint32_t{0});
  int64_t shape = static_cast<int64_t>(mask.size());
  DLTensor tensor{};
  tensor.data = mask.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 1;
  tensor.dtype = {kDLInt, 32, 1};
  tensor.shape = &shape;
  const std::array args = {matcher.view(), XgrammarTensor(tensor), XgrammarInt(0),
                           XgrammarBool(false)};
  const auto filled = library.Call(library.fill_mask, args);
  return filled.ok() ? absl::OkStatus() : LibraryError(filled.status());
}

void KeepCommon(const TokenMask& other, TokenMask& mask) {
  for (size_t i = 0; i < mask.size(); ++i) mask[i] &= other[i];
}

absl::StatusOr<bool> AcceptToken(const XgrammarLibrary& library, const XgrammarValue& matcher,
                                 int32_t id) {
  const std::array args = {matcher.view(), XgrammarInt(id), XgrammarBool(false)};
  const auto accepted = library.Call(library.accept_token, args);
  if (!accepted.ok()) return LibraryError(accepted.status());
  return accepted->is_true();
}

absl::Status TakeBack(const XgrammarLibrary& library, const XgrammarValue& matcher,
                      int64_t tokens) {
  const std::array args = {matcher.view(), XgrammarInt(tokens)};
  const auto done = library.Call(library.rollback, args);
  return done.ok() ? absl::OkStatus() : LibraryError(done.status());
}

}  // namespace

struct GrammarMatcher::State {
  const XgrammarLibrary& library;
  XgrammarValue matcher;
  std::optional<XgrammarValue> json;  // Grammar::Compiled::json
  TokenMask json_mask;
};

GrammarMatcher::GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::unique_ptr<State> state)
    : grammar_(std::move(grammar)),
      state_(std::move(state)),
      mask_(MaskWords(grammar_->vocab_size())),
      guard_states_{TokenGuard::kBeginning} {
  if (state_->json) state_->json_mask.resize(mask_.size());
}

GrammarMatcher::~GrammarMatcher() = default;

absl::StatusOr<std::unique_ptr<GrammarMatcher>> GrammarMatcher::Make(
    std::shared_ptr<const Grammar> grammar) {
  const Grammar::Compiled& compiled = grammar->compiled();
  LFM2_ASSIGN_OR_RETURN(XgrammarValue matcher,
                        MatcherOf(compiled.library, compiled.object, !grammar->has_end()));
  auto state =
      std::make_unique<State>(State{compiled.library, std::move(matcher), std::nullopt, {}});
  if (compiled.json != nullptr) {
    LFM2_ASSIGN_OR_RETURN(state->json, MatcherOf(compiled.library, *compiled.json, false));
  }
  return std::unique_ptr<GrammarMatcher>(new GrammarMatcher(std::move(grammar), std::move(state)));
}

absl::StatusOr<const TokenMask*> GrammarMatcher::NextMask() {
  LFM2_RETURN_IF_ERROR(FillMask(state_->library, state_->matcher, mask_));
  if (state_->json) {
    LFM2_RETURN_IF_ERROR(FillMask(state_->library, *state_->json, state_->json_mask));
    KeepCommon(state_->json_mask, mask_);
  }
  grammar_->guard().Restrict(guard_states_.back(), mask_);
  if (const int64_t rest = grammar_->vocab_size() % 32; rest != 0) {
    mask_.back() &= (uint32_t{1} << rest) - 1;
  }
  if (std::any_of(mask_.begin(), mask_.end(), [](uint32_t word) { return word != 0; })) {
    return &mask_;
  }
  return Error(Reason::kGrammarDeadEnd,
               "the grammar allows no token of the vocabulary after " + std::to_string(accepted()) +
                   " tokens",
               {{"tokens", std::to_string(accepted())}});
}

absl::Status GrammarMatcher::Accept(int32_t id) {
  LFM2_ASSIGN_OR_RETURN(bool accepted, AcceptToken(state_->library, state_->matcher, id));
  if (accepted && state_->json) {
    LFM2_ASSIGN_OR_RETURN(accepted, AcceptToken(state_->library, *state_->json, id));
    if (!accepted) LFM2_RETURN_IF_ERROR(TakeBack(state_->library, state_->matcher, 1));
  }
  if (!accepted) {
    return Error(Reason::kInternal,
                 "token " + std::to_string(id) + " was sampled, but the grammar forbids it");
  }
  guard_states_.push_back(grammar_->guard().Next(guard_states_.back(), id));
  return absl::OkStatus();
}

absl::Status GrammarMatcher::Rollback(int64_t tokens) {
  if (tokens < 0 || tokens > accepted()) {
    return Error(Reason::kInternal, std::to_string(tokens) + " tokens cannot be taken back of " +
                                        std::to_string(accepted()));
  }
  if (tokens == 0) return absl::OkStatus();
  LFM2_RETURN_IF_ERROR(TakeBack(state_->library, state_->matcher, tokens));
  if (state_->json) LFM2_RETURN_IF_ERROR(TakeBack(state_->library, *state_->json, tokens));
  guard_states_.erase(guard_states_.end() - tokens, guard_states_.end());
  return absl::OkStatus();
}

bool GrammarMatcher::finished() const {
  return Asks(state_->library, state_->library.is_terminated, state_->matcher);
}

bool GrammarMatcher::complete() const {
  return Asks(state_->library, state_->library.is_completed, state_->matcher);
}

}  // namespace lfm2
