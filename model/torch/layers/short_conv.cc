#include "model/torch/layers/short_conv.h"

namespace lfm2 {
namespace {

// The histories of a group, [n, L-1, d]; zeros if it has no states.
at::Tensor HistoryOf(const SpanGroup& group, int64_t layer, const at::Tensor& like, int64_t taps) {
  if (group.states.empty()) {
    return at::zeros({group.count, taps - 1, like.size(-1)}, like.options());
  }
  std::vector<at::Tensor> states;
  for (const SequenceState* state : group.states) states.push_back(state->conv(layer));
  return at::stack(states).transpose(1, 2);
}

at::Tensor ConvGroup(const Scope& scope, const SpanGroup& group, int64_t layer,
                     const at::Tensor& v) {
  const at::Tensor& weight = scope[Role::kConv];
  const at::Tensor rows =
      v.narrow(0, group.begin, group.rows()).view({group.count, group.length, v.size(1)});
  const CausalConvResult result = CausalConv(rows, HistoryOf(group, layer, v, weight.size(-1)),
                                             weight, scope.Bias(Role::kConv));
  for (size_t i = 0; i < group.states.size(); ++i) {
    group.states[i]->SetConv(layer, result.history[static_cast<int64_t>(i)].transpose(0, 1));
  }
  return result.y.reshape({group.rows(), v.size(1)});
}

}  // namespace

at::Tensor ShortConv(const Scope& scope, const std::vector<SpanGroup>& groups, int64_t layer,
                     const at::Tensor& u) {
  const std::vector<at::Tensor> bcx = scope.Linear(Role::kConvIn, u).chunk(3, -1);
  const at::Tensor v = bcx[0] * bcx[2];
  std::vector<at::Tensor> parts;
  for (const SpanGroup& group : groups) parts.push_back(ConvGroup(scope, group, layer, v));
  const at::Tensor y = parts.size() == 1 ? parts[0] : at::cat(parts);
  scope.Probe(Role::kConv, y);
  return scope.Linear(Role::kConvOut, bcx[1] * y);
}

CausalConvResult CausalConv(const at::Tensor& v, const at::Tensor& history,
                            const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t length = v.size(1);
  const int64_t taps = weight.size(-1);
  const at::Tensor inputs = at::cat({history, v}, 1);
  const at::Tensor inputs32 = inputs.to(at::kFloat);
  const at::Tensor weight32 = weight.to(at::kFloat).squeeze(1);
  at::Tensor y = inputs32.narrow(1, taps - 1, length) * weight32.select(1, taps - 1);
  for (int64_t tap = 0; tap + 1 < taps; ++tap) {
    y = at::addcmul(y, inputs32.narrow(1, tap, length), weight32.select(1, tap));
  }
  if (bias.defined()) y = y + bias.to(at::kFloat);
  return {y.to(v.scalar_type()), inputs.narrow(1, length, taps - 1)};
}

}  // namespace lfm2
