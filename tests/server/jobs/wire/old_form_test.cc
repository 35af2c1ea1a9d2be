// What the whole of an old store reads as is in queue/job_store_upgrade_test.cc; here are single
// messages, byte by byte.
#include "server/jobs/wire/old_form.h"

#include <gtest/gtest.h>

#include <string>

#include "base/errors.h"

namespace lfm2 {
namespace {

TEST(OldForm, WhatWasLeftOutIsZeroAndNotADefault) {
  const JobSpec spec = DecodeOldJobSpec(std::string("\x2a\0\x42\0", 4)).value();
  EXPECT_EQ(spec.kind, JobKind::kTrain);
  EXPECT_EQ(spec.export_format, ExportFormat::kNpz);
  EXPECT_EQ(spec.train.schedule, LrSchedule::kConstant);
  EXPECT_EQ(spec.train.dtype, TrainDtype::kAuto);
  EXPECT_EQ(spec.train.steps, 0);
  EXPECT_EQ(spec.train.beta1, 0);
  EXPECT_EQ(spec.train.device, "");
  EXPECT_FALSE(spec.shape.architecture.has_value());
  EXPECT_FALSE(spec.shape.attn_every.has_value());
}

TEST(OldForm, NumbersOfNames) {
  // shape {architecture: 1}, train {dtype: 2}, export_format 1
  const JobSpec spec =
      DecodeOldJobSpec(std::string("\x2a\x02\x08\x01\x42\x03\xa0\x01\x02\x50\x01", 11)).value();
  EXPECT_EQ(spec.shape.architecture, Architecture::kHybrid);
  EXPECT_EQ(spec.train.dtype, TrainDtype::kBfloat16);
  EXPECT_EQ(spec.export_format, ExportFormat::kSafetensors);
}

TEST(OldForm, RefusesWhatIsNoMessage) {
  for (const std::string& bytes : {std::string("\xff\xff\xff"), std::string("\x08\x09"),  // kind 9
                                   std::string("\x2a\x02\x08\x07"),         // architecture 7
                                   std::string("\x42\x03\xa0\x01\x05")}) {  // dtype 5
    EXPECT_EQ(DetailsOf(DecodeOldJobSpec(bytes).status()).reason, Reason::kInternal);
  }
  EXPECT_FALSE(DecodeOldJobEvent("").ok());
  EXPECT_FALSE(DecodeOldJobEvent("hello").ok());
}

}  // namespace
}  // namespace lfm2
