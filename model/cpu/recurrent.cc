#include <algorithm>
#include <cstring>

#include "model/cpu/pass.h"

namespace lfm2 {
namespace {

constexpr int64_t kChannelTile = 128;

// Calls run(first token, tokens) for the pieces of a span, which end at its checkpoints and at
// every drafted token. After a piece it calls keep(checkpoint) if the piece ends at one, and
// mark(i) if i drafted tokens have been run and more follow.
template <typename Run, typename Keep, typename Mark>
void InPieces(const CpuPass& pass, size_t s, Run run, Keep keep, Mark mark) {
  const auto tokens = static_cast<int64_t>(pass.spans[s].tokens.size());
  const int64_t certain = tokens - pass.spans[s].drafted;
  const int64_t first = pass.spans[s].state->position();
  auto checkpoint = pass.checkpoints[s].begin();
  const auto no_more = pass.checkpoints[s].end();
  for (int64_t done = 0; done < tokens;) {
    int64_t end = std::max(certain, done + 1);
    if (checkpoint != no_more) end = std::min(end, checkpoint->position - first);
    run(done, end - done);
    done = end;
    if (checkpoint != no_more && checkpoint->position - first == done) {
      keep(*checkpoint->state);
      ++checkpoint;
    }
    if (done >= certain && done < tokens) mark(done - certain);
  }
}

// Calls work(span, first channel, end channel) for all channels of all spans.
template <typename Work>
void ForChannels(const CpuPass& pass, int64_t floats_per_token, Work work) {
  const int64_t d = pass.shape.hidden_size;
  const int64_t tiles = (d + kChannelTile - 1) / kChannelTile;
  const auto spans = static_cast<int64_t>(pass.spans.size());
  const int64_t per_tile = floats_per_token * kChannelTile / d * pass.rows / spans;
  pass.pool.ParallelFor(spans * tiles, GrainOf(per_tile), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t channel = i % tiles * kChannelTile;
      work(static_cast<size_t>(i / tiles), channel, std::min(d, channel + kChannelTile));
    }
  });
}

// Copies columns [begin, end) of rows of d floats.
void CopyColumns(const float* from, int64_t rows, int64_t d, int64_t begin, int64_t end,
                 float* to) {
  for (int64_t row = 0; row < rows; ++row) {
    std::copy(from + row * d + begin, from + row * d + end, to + row * d + begin);
  }
}

}  // namespace

void RunShortConv(const CpuShortConv& conv, CpuPass& pass) {
  const int64_t d = pass.shape.hidden_size, rows = pass.rows;
  float* bcx = Room(pass.work.wide, rows * 3 * d);
  float* y = Room(pass.work.middle, rows * d);
  float* out = Room(pass.work.out, rows * d);
  conv.in.Run(pass.work.normed.data(), bcx, pass);
  float* convolved = pass.probes == nullptr ? nullptr : Room(pass.work.probe, rows * d);
  ForChannels(pass, 5 * d, [&](size_t s, int64_t begin, int64_t end) {
    ShortConvRun run;
    run.d = d;
    run.begin = begin;
    run.end = end;
    run.taps = pass.shape.conv_history + 1;
    run.weight = conv.taps.data();
    run.bias = conv.bias.empty() ? nullptr : conv.bias.data();
    run.history = pass.spans[s].state->conv(conv.index);
    const int64_t past = pass.shape.conv_history;
    InPieces(
        pass, s,
        [&](int64_t first, int64_t tokens) {
          const int64_t row = pass.begins[s] + first;
          run.bcx = bcx + row * 3 * d;
          run.tokens = tokens;
          run.y = y + row * d;
          run.convolved = convolved == nullptr ? nullptr : convolved + row * d;
          pass.kernels.short_conv(run);
        },
        [&](RecurrentState& kept) {
          CopyColumns(run.history, past, d, begin, end,
                      kept.conv.data() + conv.index * pass.shape.conv_floats());
        },
        // Copies the inputs before the first drafted token, then one more input for each drafted
        // token.
        [&](int64_t drafted) {
          const int64_t known = drafted == 0 ? 0 : std::max<int64_t>(0, past - 1);
          CopyColumns(run.history + known * d, past - known, d, begin, end,
                      pass.spans[s].state->conv_trail(conv.index) + (drafted + known) * d);
        });
  });
  if (convolved != nullptr) pass.Probe(conv.probe, convolved, {rows, d});
  conv.out.Run(y, out, pass);
}

void RunSsm(const CpuSsm& ssm, const std::string& prefix, CpuPass& pass) {
  const int64_t d = pass.shape.hidden_size, rows = pass.rows;
  float* uz = Room(pass.work.wide, rows * 2 * d);
  float* y = Room(pass.work.middle, rows * d);
  float* out = Room(pass.work.out, rows * d);
  ssm.in.Run(pass.work.normed.data(), uz, pass);
  float* scanned = pass.probes == nullptr ? nullptr : Room(pass.work.probe, rows * d);
  ForChannels(pass, 4 * d * pass.shape.ssm_states, [&](size_t s, int64_t begin, int64_t end) {
    SsmRun run;
    run.d = d;
    run.begin = begin;
    run.end = end;
    run.states = pass.shape.ssm_states;
    run.decay = ssm.decay.data();
    run.input = ssm.input.data();
    run.output = ssm.output.data();
    run.skip = ssm.skip.data();
    run.state = pass.spans[s].state->ssm(ssm.index);
    InPieces(
        pass, s,
        [&](int64_t first, int64_t tokens) {
          const int64_t row = pass.begins[s] + first;
          run.uz = uz + row * 2 * d;
          run.tokens = tokens;
          run.y = y + row * d;
          run.scanned = scanned == nullptr ? nullptr : scanned + row * d;
          pass.kernels.ssm_scan(run);
        },
        [&](RecurrentState& kept) {
          CopyColumns(run.state, run.states, d, begin, end,
                      kept.ssm.data() + ssm.index * pass.shape.ssm_floats());
        },
        [&](int64_t drafted) {
          CopyColumns(run.state, run.states, d, begin, end,
                      pass.spans[s].state->ssm_trail(ssm.index, drafted));
        });
  });
  if (scanned != nullptr) pass.Probe(prefix + ".scan", scanned, {rows, d});
  ssm.out.Run(y, out, pass);
}

}  // namespace lfm2
