#include "model/grammar/grammar_matcher.h"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "model/core/errors.h"
#include "model/core/status_macros.h"
#include "model/grammar/grammar_object.h"

namespace lfm2 {
namespace {

constexpr TVMFFIAny kNone{};

absl::Status LibraryError(const absl::Status& status) {
  return Error(Reason::kInternal,
               "the grammar failed while tokens were made: " + std::string(status.message()));
}

bool Asks(const XgrammarLibrary& library, XgrammarLibrary::Function question,
          const XgrammarValue& matcher) {
  const auto answer = library.Call(question, {&matcher.view(), 1});
  return answer.ok() && answer->is_true();
}

}  // namespace

struct GrammarMatcher::State {
  const XgrammarLibrary& library;
  XgrammarValue matcher;
};

GrammarMatcher::GrammarMatcher(std::shared_ptr<const Grammar> grammar, std::unique_ptr<State> state)
    : grammar_(std::move(grammar)),
      state_(std::move(state)),
      mask_(MaskWords(grammar_->vocab_size())) {}

GrammarMatcher::~GrammarMatcher() = default;

absl::StatusOr<std::unique_ptr<GrammarMatcher>> GrammarMatcher::Make(
    std::shared_ptr<const Grammar> grammar) {
  const XgrammarLibrary& library = grammar->compiled().library;
  const bool ends_when_complete = !grammar->has_end();
  const std::array args = {grammar->compiled().object.view(), kNone,
                           XgrammarBool(ends_when_complete), XgrammarInt(-1), kNone};
  absl::StatusOr<XgrammarValue> matcher = library.Call(library.make_matcher, args);
  if (!matcher.ok()) return LibraryError(matcher.status());
  auto state = std::make_unique<State>(State{library, *std::move(matcher)});
  return std::unique_ptr<GrammarMatcher>(new GrammarMatcher(std::move(grammar), std::move(state)));
}

absl::StatusOr<const TokenMask*> GrammarMatcher::NextMask() {
  // The library leaves the mask alone where every token is allowed.
  std::fill(mask_.begin(), mask_.end(), ~uint32_t{0});
  int64_t shape = static_cast<int64_t>(mask_.size());
  DLTensor tensor{};
  tensor.data = mask_.data();
  tensor.device = {kDLCPU, 0};
  tensor.ndim = 1;
  tensor.dtype = {kDLInt, 32, 1};
  tensor.shape = &shape;
  const std::array args = {state_->matcher.view(), XgrammarTensor(tensor), XgrammarInt(0),
                           XgrammarBool(false)};
  const auto filled = state_->library.Call(state_->library.fill_mask, args);
  if (!filled.ok()) return LibraryError(filled.status());
  const TokenMask& first = grammar_->first_mask();
  if (accepted_ == 0 && !first.empty()) {
    for (size_t i = 0; i < mask_.size(); ++i) mask_[i] &= first[i];
  }
  if (const int64_t rest = grammar_->vocab_size() % 32; rest != 0) {
    mask_.back() &= (uint32_t{1} << rest) - 1;
  }
  if (std::any_of(mask_.begin(), mask_.end(), [](uint32_t word) { return word != 0; })) {
    return &mask_;
  }
  return Error(Reason::kGrammarDeadEnd,
               "no token of the vocabulary goes on as the grammar wants after " +
                   std::to_string(accepted_) + " tokens",
               {{"tokens", std::to_string(accepted_)}});
}

absl::Status GrammarMatcher::Accept(int32_t id) {
  const std::array args = {state_->matcher.view(), XgrammarInt(id), XgrammarBool(false)};
  const auto accepted = state_->library.Call(state_->library.accept_token, args);
  if (!accepted.ok()) return LibraryError(accepted.status());
  if (!accepted->is_true()) {
    return Error(Reason::kInternal,
                 "token " + std::to_string(id) + " was sampled against the grammar");
  }
  ++accepted_;
  return absl::OkStatus();
}

absl::Status GrammarMatcher::Rollback(int64_t tokens) {
  if (tokens < 0 || tokens > accepted_) {
    return Error(Reason::kInternal, std::to_string(tokens) + " tokens cannot be taken back of " +
                                        std::to_string(accepted_));
  }
  if (tokens == 0) return absl::OkStatus();
  const std::array args = {state_->matcher.view(), XgrammarInt(tokens)};
  const auto done = state_->library.Call(state_->library.rollback, args);
  if (!done.ok()) return LibraryError(done.status());
  accepted_ -= tokens;
  return absl::OkStatus();
}

bool GrammarMatcher::finished() const {
  return Asks(state_->library, state_->library.is_terminated, state_->matcher);
}

bool GrammarMatcher::complete() const {
  return Asks(state_->library, state_->library.is_completed, state_->matcher);
}

}  // namespace lfm2
