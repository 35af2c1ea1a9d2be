#include "model/torch/layers/diagonal_ssm.h"

#include <tuple>

namespace lfm2 {
namespace {

// The matrices for a chunk of q tokens, made from the powers dA^l of every channel and state.
struct ChunkTables {
  at::Tensor kernel;     // [d, q, q]: effect of input j on output i; zero above the diagonal
  at::Tensor to_state;   // [d, N, q]: effect of input j on the state after q tokens
  at::Tensor to_output;  // [d, q, N]: effect of the state before the chunk on output i
  at::Tensor decay;      // [d, N]: dA^q
};

// dA^l for the exponents l: [d, N, count].
at::Tensor Powers(const SsmParameters& ssm, const at::Tensor& exponents) {
  return at::exp(ssm.log_decay.unsqueeze(-1) * exponents);
}

// Lower triangular Toeplitz matrices from their first columns, [d, q] to [d, q, q]. The column and
// as many zeros are repeated and read as rows that are one element shorter than this period. So
// each row starts one element earlier, which gives the transpose.
at::Tensor Toeplitz(const at::Tensor& column) {
  const int64_t d = column.size(0), q = column.size(1);
  const at::Tensor period = at::constant_pad_nd(column, {0, q});
  return period.unsqueeze(1)
      .expand({d, q, 2 * q})
      .reshape({d, 2 * q * q})
      .narrow(1, 0, q * (2 * q - 1))
      .view({d, q, 2 * q - 1})
      .narrow(2, 0, q)
      .transpose(1, 2);
}

ChunkTables MakeTables(const SsmParameters& ssm, int64_t q) {
  const at::TensorOptions options = ssm.log_decay.options();
  const at::Tensor powers = Powers(ssm, at::arange(q + 1, options));
  const at::Tensor impulse =
      at::bmm((ssm.C * ssm.dB).unsqueeze(1), powers.narrow(-1, 0, q)).squeeze(1);  // [d, q]
  ChunkTables out;
  out.kernel = Toeplitz(impulse);
  out.to_state = ssm.dB.unsqueeze(-1) * Powers(ssm, at::arange(q - 1, -1, -1, options));
  out.to_output = (ssm.C.unsqueeze(-1) * powers.narrow(-1, 1, q)).transpose(1, 2);
  out.decay = powers.select(-1, q);
  return out;
}

// u [n, t, d] with t a multiple of q. Without the D term.
SsmResult ScanChunks(const SsmParameters& ssm, const at::Tensor& u, const at::Tensor& state,
                     int64_t q) {
  const int64_t n = u.size(0), chunks = u.size(1) / q, d = u.size(2), states = state.size(2);
  const ChunkTables tables = MakeTables(ssm, q);
  // [d, q, chunks * n]: all chunks of a channel are columns of one matrix, so that each channel
  // needs one matrix product.
  const at::Tensor columns =
      u.reshape({n, chunks, q, d}).permute({3, 2, 1, 0}).reshape({d, q, chunks * n});
  const at::Tensor inputs = at::bmm(tables.to_state, columns).view({d, states, chunks, n});
  const at::Tensor decay = tables.decay.unsqueeze(-1);  // [d, N, 1]
  at::Tensor carried = state.permute({1, 2, 0});        // [d, N, n]
  std::vector<at::Tensor> before;
  for (int64_t c = 0; c < chunks; ++c) {
    before.push_back(carried);
    carried = at::addcmul(inputs.select(2, c), decay, carried);
  }
  const at::Tensor starts = at::stack(before, 2).reshape({d, states, chunks * n});
  const at::Tensor y = at::baddbmm(at::bmm(tables.kernel, columns), tables.to_output, starts);
  return {y.view({d, q, chunks, n}).permute({3, 2, 1, 0}).reshape({n, chunks * q, d}),
          carried.permute({2, 0, 1})};
}

at::Tensor StatesOf(const SpanGroup& group, int64_t layer, const SsmParameters& ssm) {
  if (group.states.empty()) {
    return at::zeros({group.count, ssm.dB.size(0), ssm.dB.size(1)}, ssm.dB.options());
  }
  std::vector<at::Tensor> states;
  for (const SequenceState* state : group.states) states.push_back(state->ssm(layer));
  return at::stack(states);
}

at::Tensor ScanGroup(const SpanGroup& group, int64_t layer, const SsmParameters& ssm,
                     const at::Tensor& u) {
  const at::Tensor rows =
      u.narrow(0, group.begin, group.rows()).reshape({group.count, group.length, u.size(1)});
  const at::Tensor state = StatesOf(group, layer, ssm);
  const SsmResult result =
      group.length == 1 ? SsmStep(ssm, rows, state) : SsmScan(ssm, rows, state);
  for (size_t i = 0; i < group.states.size(); ++i) {
    group.states[i]->SetSsm(layer, result.state[static_cast<int64_t>(i)]);
  }
  return result.y.reshape({group.rows(), u.size(1)});
}

at::Tensor ScanAll(const Scope& scope, const std::vector<SpanGroup>& groups, int64_t layer,
                   const at::Tensor& u) {
  const SsmParameters ssm =
      DiscretizeSsm(scope[Role::kSsmALog], scope[Role::kSsmB], scope[Role::kSsmC],
                    scope[Role::kSsmD], scope[Role::kSsmLogDt]);
  std::vector<at::Tensor> parts;
  for (const SpanGroup& group : groups) parts.push_back(ScanGroup(group, layer, ssm, u));
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

}  // namespace

at::Tensor DiagonalSsm(const Scope& scope, const std::vector<SpanGroup>& groups, int64_t layer,
                       const at::Tensor& h) {
  const std::vector<at::Tensor> uz = scope.Linear(Role::kSsmIn, h).to(at::kFloat).chunk(2, -1);
  const at::Tensor y = ScanAll(scope, groups, layer, uz[0]);
  scope.Probe("scan", y);
  return scope.Linear(Role::kSsmOut, (y * at::silu(uz[1])).to(h.scalar_type()));
}

SsmParameters DiscretizeSsm(const at::Tensor& A_log, const at::Tensor& B, const at::Tensor& C,
                            const at::Tensor& D, const at::Tensor& log_dt) {
  const at::Tensor A = -at::exp(A_log);
  const at::Tensor log_decay = at::exp(log_dt).unsqueeze(1) * A;
  return {log_decay, at::expm1(log_decay) / A * B, C, D};
}

SsmResult SsmStep(const SsmParameters& ssm, const at::Tensor& u, const at::Tensor& state) {
  const at::Tensor token = u.select(1, 0);  // [n, d]
  const at::Tensor next = at::addcmul(at::exp(ssm.log_decay) * state, ssm.dB, token.unsqueeze(-1));
  const at::Tensor y = (ssm.C * next).sum(-1) + ssm.D * token;
  return {y.unsqueeze(1), next};
}

SsmResult SsmScan(const SsmParameters& ssm, const at::Tensor& u, const at::Tensor& state,
                  int64_t chunk) {
  const int64_t tail = u.size(1) % chunk;
  const int64_t whole = u.size(1) - tail;
  at::Tensor carried = state;
  std::vector<at::Tensor> parts;
  for (const auto& [begin, length, q] :
       {std::tuple{int64_t{0}, whole, chunk}, std::tuple{whole, tail, tail}}) {
    if (length == 0) continue;
    const SsmResult part = ScanChunks(ssm, u.narrow(1, begin, length), carried, q);
    carried = part.state;
    parts.push_back(part.y);
  }
  const at::Tensor y = parts.size() == 1 ? parts[0] : at::cat(parts, 1);
  return {at::addcmul(y, ssm.D, u), carried};
}

}  // namespace lfm2
