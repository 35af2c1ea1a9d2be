#include "model/train/spec/train_spec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/errors.h"

namespace lfm2 {
namespace {

TrainSpec Spec(LrSchedule schedule) {
  TrainSpec spec;
  spec.schedule = schedule;
  spec.steps = 100;
  spec.lr = 1.0;
  return spec;
}

std::vector<std::string> Fields(const absl::Status& status) {
  std::vector<std::string> names;
  for (const FieldViolation& violation : DetailsOf(status).violations) {
    names.push_back(violation.field);
  }
  return names;
}

TEST(CheckTrainSpec, TakesTheDefaults) { EXPECT_TRUE(CheckTrainSpec(TrainSpec{}).ok()); }

TEST(CheckTrainSpec, NamesEveryViolationAtOnce) {
  TrainSpec spec;
  spec.steps = 0;
  spec.lr = std::numeric_limits<double>::quiet_NaN();
  spec.beta2 = 1.0;
  spec.device = "tpu";
  const absl::Status status = CheckTrainSpec(spec);
  EXPECT_EQ(DetailsOf(status).reason, Reason::kInvalidArgument);
  EXPECT_EQ(Fields(status), (std::vector<std::string>{"steps", "lr", "beta2", "device"}));
}

TEST(CheckTrainSpec, StatesTheValueAndTheLimit) {
  TrainSpec spec;
  spec.batch_size = -3;
  const ErrorDetails details = DetailsOf(CheckTrainSpec(spec));
  ASSERT_EQ(details.violations.size(), 1u);
  EXPECT_EQ(details.violations[0].description, "is -3, must be 1 to 65536");
}

TEST(CheckTrainSpec, TriesEachSizeAtItsLimitAndOnePast) {
  TrainSpec spec;
  spec.batch_size = 1;
  spec.seq_len = 1 << 20;
  EXPECT_TRUE(CheckTrainSpec(spec).ok());
  spec.seq_len += 1;
  EXPECT_EQ(Fields(CheckTrainSpec(spec)), (std::vector<std::string>{"seq_len"}));
  spec = TrainSpec{};
  spec.keep_checkpoints = 0;
  EXPECT_EQ(Fields(CheckTrainSpec(spec)), (std::vector<std::string>{"keep_checkpoints"}));
  spec = TrainSpec{};
  spec.eval_ratio = 0.91;
  EXPECT_EQ(Fields(CheckTrainSpec(spec)), (std::vector<std::string>{"eval_ratio"}));
}

TEST(CheckTrainSpec, RefusesAMicroBatchPastTheTokenLimitWithoutOverflow) {
  TrainSpec spec;
  spec.batch_size = 65'536;
  spec.seq_len = 1 << 20;
  EXPECT_EQ(Fields(CheckTrainSpec(spec)), (std::vector<std::string>{"batch_size"}));
  spec.batch_size = std::numeric_limits<int64_t>::max();
  spec.seq_len = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(Fields(CheckTrainSpec(spec)), (std::vector<std::string>{"batch_size", "seq_len"}));
}

TEST(CheckTrainSpec, RefusesAWarmupThatNeverEnds) {
  TrainSpec spec;
  spec.steps = 10;
  spec.warmup_steps = 9;
  EXPECT_TRUE(CheckTrainSpec(spec).ok());
  spec.warmup_steps = 10;
  EXPECT_EQ(Fields(CheckTrainSpec(spec)), (std::vector<std::string>{"warmup_steps"}));
}

TEST(CheckTrainSpec, KnowsDeviceNames) {
  for (const char* name : {"auto", "cpu", "cuda", "cuda:0", "cuda:12"}) {
    TrainSpec spec;
    spec.device = name;
    EXPECT_TRUE(CheckTrainSpec(spec).ok()) << name;
  }
  for (const char* name : {"", "cuda:", "cuda:x", "CPU", "meta", "cuda:1234"}) {
    TrainSpec spec;
    spec.device = name;
    EXPECT_FALSE(CheckTrainSpec(spec).ok()) << name;
  }
}

TEST(LearningRate, ConstantStaysWhereItIs) {
  const TrainSpec spec = Spec(LrSchedule::kConstant);
  EXPECT_DOUBLE_EQ(LearningRate(spec, 0), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(spec, 99), 1.0);
}

TEST(LearningRate, WarmupRisesFromOneShareToTheWhole) {
  TrainSpec spec = Spec(LrSchedule::kConstant);
  spec.warmup_steps = 4;
  EXPECT_DOUBLE_EQ(LearningRate(spec, 0), 0.25);
  EXPECT_DOUBLE_EQ(LearningRate(spec, 3), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(spec, 4), 1.0);
}

TEST(LearningRate, LinearAndCosineEndAtTheFloor) {
  for (LrSchedule schedule : {LrSchedule::kLinear, LrSchedule::kCosine}) {
    TrainSpec spec = Spec(schedule);
    spec.steps = 101;
    spec.min_lr_ratio = 0.1;
    EXPECT_DOUBLE_EQ(LearningRate(spec, 0), 1.0);
    EXPECT_NEAR(LearningRate(spec, 50), 0.55, 1e-12);
    EXPECT_NEAR(LearningRate(spec, 100), 0.1, 1e-12);
  }
}

TEST(LearningRate, WsdHoldsThenDecays) {
  TrainSpec spec = Spec(LrSchedule::kWsd);
  spec.wsd_decay_ratio = 0.2;
  EXPECT_DOUBLE_EQ(LearningRate(spec, 79), 1.0);
  EXPECT_LT(LearningRate(spec, 80), 1.0);
  EXPECT_NEAR(LearningRate(spec, 89), 0.5, 1e-12);
  EXPECT_NEAR(LearningRate(spec, 99), 0.0, 1e-12);
}

TEST(LearningRate, WsdWithoutADecayShareNeverFalls) {
  TrainSpec spec = Spec(LrSchedule::kWsd);
  spec.wsd_decay_ratio = 0.0;
  EXPECT_DOUBLE_EQ(LearningRate(spec, 99), 1.0);
}

TEST(LearningRate, NeverRisesAfterTheWarmupNorFallsBelowTheFloor) {
  for (LrSchedule schedule :
       {LrSchedule::kConstant, LrSchedule::kLinear, LrSchedule::kCosine, LrSchedule::kWsd}) {
    TrainSpec spec = Spec(schedule);
    spec.warmup_steps = 10;
    spec.min_lr_ratio = 0.05;
    double last = spec.lr;
    for (int64_t step = 9; step < spec.steps; ++step) {
      const double now = LearningRate(spec, step);
      EXPECT_LE(now, last + 1e-12);
      EXPECT_GE(now, 0.05 - 1e-12);
      last = now;
    }
  }
}

TEST(LearningRate, SurvivesARunOfOneStep) {
  for (LrSchedule schedule :
       {LrSchedule::kConstant, LrSchedule::kLinear, LrSchedule::kCosine, LrSchedule::kWsd}) {
    TrainSpec spec = Spec(schedule);
    spec.steps = 1;
    EXPECT_GT(LearningRate(spec, 0), 0.0);
  }
}

}  // namespace
}  // namespace lfm2
