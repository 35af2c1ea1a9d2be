#include "server/jobs/queue/old_event_log.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/errors.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

class OldEventLogTest : public ::testing::Test {
 protected:
  std::vector<std::string> Payloads() {
    OldEventLog log = OldEventLog::Open(path).value();
    std::vector<std::string> payloads;
    while (const auto payload = log.Next()) payloads.emplace_back(*payload);
    return payloads;
  }

  TempDirectory directory;
  const std::filesystem::path path = directory.path() / "events.log";
  // Frames of "first" and of "second".
  const std::string first = std::string("\x05\0\0\0\x57\xee\x71\x92", 8) + "first";
  const std::string second = std::string("\x06\0\0\0\x69\x11\x1f\xb6", 8) + "second";
};

TEST_F(OldEventLogTest, AnAbsentOrEmptyFileHasNoEvents) {
  EXPECT_TRUE(Payloads().empty());
  WriteText(path, "");
  EXPECT_TRUE(Payloads().empty());
}

TEST_F(OldEventLogTest, ATailTornAtAnyByteIsNoEvent) {
  for (size_t size = 0; size < second.size(); ++size) {
    WriteText(path, first + second.substr(0, size));
    EXPECT_EQ(Payloads(), std::vector<std::string>{"first"}) << size;
  }
  WriteText(path, first + second);
  EXPECT_EQ(Payloads(), (std::vector<std::string>{"first", "second"}));
}

TEST_F(OldEventLogTest, AFlippedBitEndsIt) {
  for (size_t i = 0; i < first.size(); ++i) {
    std::string damaged = first;
    damaged[i] ^= 1;
    WriteText(path, damaged + second);
    EXPECT_TRUE(Payloads().empty()) << i;
  }
}

TEST_F(OldEventLogTest, ALengthThatLiesIsNoEvent) {
  WriteText(path, std::string("\xff\xff\xff\x7f", 4) + std::string(100, 'x'));
  EXPECT_TRUE(Payloads().empty());
}

TEST_F(OldEventLogTest, WhatIsNotAFileIsAnError) {
  std::filesystem::create_directory(path);
  const absl::Status status = OldEventLog::Open(path).status();
  EXPECT_EQ(DetailsOf(status).reason, Reason::kStorageIoError);
  EXPECT_NE(status.message().find("is not a regular file"), std::string_view::npos) << status;
}

}  // namespace
}  // namespace lfm2
