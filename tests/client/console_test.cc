#include "client/console.h"

#include <gtest/gtest.h>

#include <sstream>

#include "client/failure.h"

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

TEST(Console, ABrokenPipeIsNoticed) {
  std::istringstream in;
  std::ostringstream out, err;
  Console console{in, out, err};
  EXPECT_TRUE(Write(console, "x").ok());
  out.setstate(std::ios::badbit);
  EXPECT_TRUE(IsOutputClosed(Write(console, "x")));
}

TEST(Console, JsonShowsWhatIsNotUtf8) {
  EXPECT_EQ(DumpJson({{"t", "a\xff"}}), "{\"t\":\"a\xEF\xBF\xBD\"}");
}

}  // namespace
}  // namespace lfm2
