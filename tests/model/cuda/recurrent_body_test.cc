// Convolution and state-space steps over many tokens against the formulas in float64.
#include "model/cuda/recurrent_body.h"

#include <gtest/gtest.h>

#include <deque>

#include "tests/model/cuda/values.h"

namespace lfm2 {
namespace {

class Recurrent : public testing::TestWithParam<int> {
 protected:
  std::mt19937_64 random_{14};
  const Lfm2CudaFunctions& f_ = HostCudaFunctions();
};

TEST_P(Recurrent, ConvolutionStepByStepIsTheConvolutionOfTheWholeSequence) {
  for (const int64_t width : {1, 127, 130}) {
    for (const int taps : {1, 2, 3, 5}) {
      for (const bool biased : {false, true}) {
        const int64_t slots_in_pool = 4;
        const int32_t slots[] = {2, -1, 0};
        Values states(GetParam(), slots_in_pool * (taps - 1) * width);
        const Values weight = Values::Normal(GetParam(), width * taps, random_);
        const Values bias = Values::Normal(GetParam(), width, random_);
        std::vector<std::vector<double>> v;  // of every token: [3 * width], rounded
        for (int token = 0; token < 6; ++token) {
          const Values bcx = Values::Normal(GetParam(), int64_t{3} * 3 * width, random_);
          Values out(GetParam(), 3 * width);
          for (int64_t i = 0; i < out.size(); ++i) out.Set(i, 55);
          const Lfm2CudaConv args{GetParam(),
                                  3,
                                  static_cast<int>(width),
                                  taps,
                                  (taps - 1) * width,
                                  bcx.data(),
                                  weight.data(),
                                  biased ? bias.data() : nullptr,
                                  slots,
                                  states.data(),
                                  out.data()};
          ASSERT_EQ(f_.conv(nullptr, &args), 0);
          v.emplace_back();
          for (int64_t i = 0; i < 3 * width; ++i) {
            const int64_t at = i / width * 3 * width + i % width;
            v.back().push_back(RoundTo(GetParam(), bcx[at] * bcx[at + 2 * width]));
            double y = biased ? bias[i % width] : 0;
            for (int tap = 0; tap < taps; ++tap) {
              const int when = token - (taps - 1) + tap;
              if (when < 0) continue;
              y += weight[i % width * taps + tap] *
                   v[static_cast<size_t>(when)][static_cast<size_t>(i)];
            }
            const double expected = y * bcx[at + width];
            if (slots[i / width] < 0) {
              ASSERT_EQ(out[i], 55);
            } else {
              ASSERT_NEAR(out[i], expected, 4 * out.Epsilon(std::abs(expected) + 1))
                  << width << " taps " << taps << " token " << token;
            }
          }
        }
        for (int64_t i = 0; i < states.size(); ++i) {
          const int64_t slot = i / (std::max(1, taps - 1) * width);
          if (slot == 1 || slot == 3) {
            ASSERT_EQ(states[i], 0) << "a slot of nobody's";
          }
        }
      }
    }
  }
}

TEST_P(Recurrent, StateSpaceStepByStepIsTheRecurrence) {
  for (const int64_t width : {1, 128, 131}) {
    for (const int n : {1, 4, 16}) {
      const auto parameters = [&](double scale) {
        return Values::Normal(kLfm2CudaF32, int64_t{n} * width, random_, scale);
      };
      Values decay = parameters(1);
      for (int64_t i = 0; i < decay.size(); ++i) decay.Set(i, 1 / (1 + std::exp(-decay[i])));
      const Values input = parameters(1), output = parameters(1);
      const Values skip = Values::Normal(kLfm2CudaF32, width, random_);
      const int32_t slots[] = {3, 0, -1};
      Values states(kLfm2CudaF32, int64_t{4} * n * width);
      std::vector<double> s(static_cast<size_t>(int64_t{3} * n * width), 0.0);
      for (int token = 0; token < 5; ++token) {
        const Values uz = Values::Normal(GetParam(), int64_t{3} * 2 * width, random_);
        Values out(GetParam(), 3 * width);
        const Lfm2CudaSsm args{GetParam(),
                               3,
                               static_cast<int>(width),
                               n,
                               int64_t{n} * width,
                               uz.data(),
                               decay.floats(),
                               input.floats(),
                               output.floats(),
                               skip.floats(),
                               slots,
                               states.floats(),
                               out.data()};
        ASSERT_EQ(f_.ssm(nullptr, &args), 0);
        for (int64_t row = 0; row < 3; ++row) {
          for (int64_t channel = 0; channel < width; ++channel) {
            const double u = uz[row * 2 * width + channel],
                         z = uz[row * 2 * width + width + channel];
            double y = skip[channel] * u;
            for (int64_t i = 0; i < n; ++i) {
              double& state = s[static_cast<size_t>((row * n + i) * width + channel)];
              const int64_t at = i * width + channel;
              state = decay[at] * state + input[at] * u;
              y += output[at] * state;
            }
            const double expected = y * z / (1 + std::exp(-z));
            if (slots[row] < 0) continue;
            ASSERT_NEAR(out[row * width + channel], expected,
                        2 * out.Epsilon(std::abs(expected) + 1));
          }
        }
      }
      for (int64_t i = 0; i < n * width; ++i) {
        ASSERT_EQ(states[n * width + i], 0) << "a slot of nobody's";
        ASSERT_NEAR(states[int64_t{3} * n * width + i], s[static_cast<size_t>(i)], 1e-4);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(EachType, Recurrent, testing::ValuesIn(kDtypes));

}  // namespace
}  // namespace lfm2
