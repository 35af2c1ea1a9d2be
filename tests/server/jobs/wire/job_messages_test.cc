#include "server/jobs/wire/job_messages.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace lfm2 {
namespace {

TEST(JobMessages, NamesEveryValueAsV1Does) {
  for (int i = 0; i < 6; ++i) {
    const auto state = static_cast<JobState>(i);
    EXPECT_EQ(v1::JobState_Name(ToProto(state)), std::string("JOB_STATE_") + JobStateName(state));
    EXPECT_EQ(FromProto(ToProto(state)), state);
  }
  EXPECT_EQ(ToProto(JobKind::kTrain), v1::JOB_KIND_TRAIN);
  EXPECT_EQ(ToProto(JobKind::kInit), v1::JOB_KIND_INIT);
  EXPECT_EQ(ToProto(JobKind::kExport), v1::JOB_KIND_EXPORT);
  EXPECT_EQ(ToProto(ExportFormat::kNpz), v1::EXPORT_FORMAT_NPZ);
  EXPECT_EQ(ToProto(ExportFormat::kSafetensors), v1::EXPORT_FORMAT_SAFETENSORS);
  EXPECT_EQ(ToProto(TensorFate::kCopied), v1::TensorReport::FATE_COPIED);
  EXPECT_EQ(ToProto(TensorFate::kConverted), v1::TensorReport::FATE_CONVERTED);
  EXPECT_EQ(ToProto(TensorFate::kFresh), v1::TensorReport::FATE_FRESH);
  EXPECT_EQ(ToProto(TensorFate::kUnexpected), v1::TensorReport::FATE_UNEXPECTED);
  EXPECT_EQ(ToProto(TensorFate::kWrongShape), v1::TensorReport::FATE_WRONG_SHAPE);
  TrainSpec spec;
  const std::vector<std::pair<LrSchedule, v1::LrSchedule>> schedules = {
      {LrSchedule::kConstant, v1::LR_SCHEDULE_CONSTANT},
      {LrSchedule::kLinear, v1::LR_SCHEDULE_LINEAR},
      {LrSchedule::kCosine, v1::LR_SCHEDULE_COSINE},
      {LrSchedule::kWsd, v1::LR_SCHEDULE_WSD}};
  for (const auto& [ours, theirs] : schedules) {
    spec.schedule = ours;
    EXPECT_EQ(ToProto(spec).schedule(), theirs);
  }
}

TEST(JobMessages, ANumberThatIsNoValueIsNone) {
  for (const int number : {-1, 0, 100}) {
    EXPECT_FALSE(FromProto(static_cast<v1::JobState>(number)).has_value());
    EXPECT_FALSE(FromProto(static_cast<v1::JobKind>(number)).has_value());
    EXPECT_FALSE(FromProto(static_cast<v1::ExportFormat>(number)).has_value());
    EXPECT_FALSE(FromProto(static_cast<v1::TensorReport::Fate>(number)).has_value());
  }
}

TEST(JobMessages, UnsetOptionsLeaveWhatIsThere) {
  TrainSpec spec;
  spec.steps = 7;
  spec.dtype = TrainDtype::kBfloat16;
  spec.schedule = LrSchedule::kWsd;
  spec.device = "cuda:1";
  v1::TrainOptions options;
  options.set_weight_decay(0);
  FromProto(options, spec, [](std::string_view field, const std::string&) { FAIL() << field; });
  EXPECT_EQ(spec.steps, 7);
  EXPECT_EQ(spec.dtype, TrainDtype::kBfloat16);
  EXPECT_EQ(spec.schedule, LrSchedule::kWsd);
  EXPECT_EQ(spec.device, "cuda:1");
  EXPECT_EQ(spec.weight_decay, 0);
}

TEST(JobMessages, NamesEachFieldThatIsNoValue) {
  std::vector<std::string> faults;
  const auto note = [&](std::string_view field, const std::string& fault) {
    faults.push_back(std::string(field) + " " + fault);
  };
  v1::TrainOptions options;
  options.set_schedule(static_cast<v1::LrSchedule>(9));
  options.set_dtype("int8");
  TrainSpec spec;
  FromProto(options, spec, note);
  v1::ModelShape wanted;
  wanted.set_architecture("gpt");
  ModelShape shape;
  FromProto(wanted, shape, note);
  EXPECT_EQ(faults,
            (std::vector<std::string>{"schedule is 9, which is not a schedule",
                                      "dtype is \"int8\", must be auto, float32 or bfloat16",
                                      "architecture is \"gpt\", must be lfm2, hybrid or llama"}));
  EXPECT_FALSE(shape.architecture.has_value());
}

}  // namespace
}  // namespace lfm2
