#include "client/terminal/console.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <sstream>
#include <streambuf>

#include "client/terminal/failure.h"

namespace lfm2 {
namespace {

TEST(Console, ColumnsLineUpByCharactersNotBytes) {
  EXPECT_EQ(RenderTable({"A", "B"}, {{"é", "1"}, {"xx", "2"}, {"", ""}}),
            "A   B\né   1\nxx  2\n\n");
}

TEST(Console, KnowsWhatIsUtf8) {
  for (const char* good : {"", "a", "é", "€", "😀", "\xf4\x8f\xbf\xbf"})
    EXPECT_TRUE(IsValidUtf8(good)) << good;
  for (const char* bad :
       {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff"}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
}

TEST(Console, AStatusLineIsDrawnOnATerminalOnlyAndCutToIt) {
  std::istringstream in;
  std::ostringstream out, err;
  Console console{in, out, err};
  { StatusLine(console).Show("working"); }
  EXPECT_EQ(err.str(), "");
  console.err_is_terminal = true;
  console.columns = 11;
  { StatusLine(console).Show("ééééééééééééééé"); }
  EXPECT_EQ(err.str(), "\r\x1b[Kéééééééééé\r\x1b[K");
}

// Writes nothing, and fails as write(2) does.
struct FailingBuffer : std::streambuf {
  explicit FailingBuffer(int code) : error(code) {}
  int error;

 protected:
  std::streamsize xsputn(const char*, std::streamsize) override {
    errno = error;
    return 0;
  }
};

TEST(Console, OnlyAReaderThatHasGoneIsQuiet) {
  const auto write_twice = [](int error) {
    std::istringstream in;
    std::ostringstream err;
    FailingBuffer buffer(error);
    std::ostream out(&buffer);
    Console console{in, out, err};
    absl::Status first = Write(console, "x");
    errno = 0;
    EXPECT_EQ(Write(console, "x"), first) << "the stream remembers";
    return first;
  };
  EXPECT_TRUE(IsOutputClosed(write_twice(EPIPE)));
  EXPECT_EQ(DetailsOf(write_twice(ENOSPC)).reason, Reason::kDiskFull);
  EXPECT_EQ(DetailsOf(write_twice(EIO)).reason, Reason::kStorageIoError);
  EXPECT_EQ(write_twice(ENOSPC).message(), "writing standard output: No space left on device");
}

TEST(Console, JsonShowsWhatIsNotUtf8) {
  EXPECT_EQ(DumpJson({{"t", "a\xff"}}), "{\"t\":\"a\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace lfm2
