#include "server/jobs/queue/event_log.h"

#include <gtest/gtest.h>

#include <string>

#include "base/errors.h"
#include "tests/server/fakes/temp_directory.h"

namespace lfm2 {
namespace {

class EventLogTest : public ::testing::Test {
 protected:
  std::shared_ptr<EventLog> Open(int64_t known_seq = 0) {
    return EventLog::Open(path, known_seq).value();
  }
  static std::string TextOf(const JobEvent& event) { return std::get<Note>(event.body).text; }

  TempDirectory directory;
  const std::filesystem::path path = directory.path() / "events.log";
};

TEST_F(EventLogTest, NumbersEventsFromOneAndGoesOnAfterReopening) {
  EXPECT_EQ(*Open()->Append(5, Note{"a"}), 1);
  EXPECT_EQ(*Open()->Append(6, Note{"b"}), 2);
  const std::vector<JobEvent> events = Open()->Read(1, 10).value();
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].seq, 2);
  EXPECT_EQ(events[1].at_ms, 6);
  EXPECT_EQ(TextOf(events[1]), "b");
}

TEST_F(EventLogTest, ReadsFromAnyNumberAcrossTheIndex) {
  const std::shared_ptr<EventLog> log = Open();
  for (int i = 1; i <= 1000; ++i) ASSERT_TRUE(log->Append(0, Note{std::to_string(i)}).ok());
  for (const std::shared_ptr<EventLog>& reader : {log, Open()}) {
    for (int from = 1; from <= 1000; from += 37) {
      const std::vector<JobEvent> events = reader->Read(from, 2).value();
      ASSERT_FALSE(events.empty());
      EXPECT_EQ(TextOf(events[0]), std::to_string(from));
    }
  }
  EXPECT_TRUE(log->Read(1001, 5)->empty());
  EXPECT_EQ(log->Read(-3, 1)->at(0).seq, 1);
}

// Wherever the tail is torn, the events before it stay and the next one takes the lost number.
TEST_F(EventLogTest, CutsATailTornAtEveryByte) {
  ASSERT_TRUE(Open()->Append(0, Note{"first"}).ok());
  const std::string whole = ReadText(path);
  ASSERT_TRUE(Open()->Append(0, Note{"second"}).ok());
  const std::string both = ReadText(path);
  for (size_t size = whole.size(); size < both.size(); ++size) {
    WriteText(path, both.substr(0, size));
    const std::shared_ptr<EventLog> log = Open();
    EXPECT_EQ(log->last_seq(), 1);
    EXPECT_EQ(std::filesystem::file_size(path), whole.size());
    EXPECT_EQ(*log->Append(0, Note{"again"}), 2);
    EXPECT_EQ(TextOf(log->Read(2, 1)->at(0)), "again");
  }
}

TEST_F(EventLogTest, CutsAtAFlippedBitAndFillsTheNumbersThatWereKnown) {
  for (const char* text : {"one", "two", "three"}) ASSERT_TRUE(Open()->Append(0, Note{text}).ok());
  std::string bytes = ReadText(path);
  bytes[bytes.size() / 2] ^= 1;  // in the second event
  WriteText(path, bytes);
  const std::shared_ptr<EventLog> log = Open(3);
  EXPECT_EQ(log->last_seq(), 3);
  const std::vector<JobEvent> events = log->Read(1, 10).value();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(TextOf(events[0]), "one");
  EXPECT_EQ(TextOf(events[2]), "event 3 was lost: the log was damaged");
}

TEST_F(EventLogTest, ALengthThatLiesIsNoEvent) {
  WriteText(path, std::string("\xff\xff\xff\x7f", 4) + std::string(100, 'x'));
  EXPECT_EQ(Open()->last_seq(), 0);
}

TEST_F(EventLogTest, AFullDiskLeavesWhatWasThere) {
  const absl::StatusOr<std::shared_ptr<EventLog>> full = EventLog::Open("/dev/full", 0);
  ASSERT_TRUE(full.ok()) << full.status();
  const absl::StatusOr<int64_t> seq = (*full)->Append(0, Note{"x"});
  EXPECT_FALSE(seq.ok());
  EXPECT_EQ((*full)->last_seq(), 0);
}

TEST_F(EventLogTest, TheCacheHandsOutOneLogHoweverManyAsk) {
  std::filesystem::create_directories(directory.path() / "a");
  std::filesystem::create_directories(directory.path() / "b");
  EventLogCache cache(directory.path(), 1);
  const std::shared_ptr<EventLog> a = cache.Get("a", 0).value();
  ASSERT_TRUE(cache.Get("b", 0).ok());  // pushes "a" out of the recent ones
  EXPECT_EQ(cache.Get("a", 0).value(), a);
}

}  // namespace
}  // namespace lfm2
