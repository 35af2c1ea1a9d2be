// What the command line says about arguments that are wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::HasSubstr;
using Arguments = std::vector<std::string>;

void ExpectUsage(const Arguments& arguments, const std::string& problem, const std::string& fix) {
  const Outcome outcome = RunCtl(arguments);
  EXPECT_EQ(outcome.code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(problem));
  EXPECT_THAT(outcome.err, HasSubstr(fix));
  EXPECT_EQ(outcome.out, "");
}

TEST(Usage, AnUnknownVerbIsNamedWithTheNearest) {
  ExpectUsage({"generat", "--prompt", "x"}, "there is no verb \"generat\": the nearest is generate",
              "`lfm2ctl --help`");
  ExpectUsage({"--prompt", "list", "generat"}, "there is no verb \"generat\"", "`lfm2ctl --help`");
  ExpectUsage({"train", "strat"}, "train has no verb \"strat\": the nearest is start",
              "`lfm2ctl train --help`");
  ExpectUsage({"tokenizer", "--help"}, "there is no verb \"tokenizer\": the nearest is tokenize",
              "`lfm2ctl --help`");
}

TEST(Usage, AVerbThatIsMissingIsAskedFor) {
  ExpectUsage({}, "a verb is needed: generate, chat", "`lfm2ctl --help`");
  ExpectUsage({"train", "-q"}, "train needs a verb: start, list, get, cancel or watch",
              "`lfm2ctl train --help`");
}

TEST(Usage, AnUnknownFlagIsNamedWithTheNearest) {
  ExpectUsage({"generate", "--max_new_tokns", "9"},
              "generate has no flag --max_new_tokns: the nearest is --max_new_tokens",
              "`lfm2ctl generate --help`");
  ExpectUsage({"train", "start", "--batch-sise=4", "--name", "a"},
              "train start has no flag --batch_sise: the nearest is --batch_size",
              "`lfm2ctl train start --help`");
  ExpectUsage({"model", "list", "--servr", "x"},
              "model list has no flag --servr: the nearest is --server",
              "`lfm2ctl model list --help`");
}

TEST(Usage, AWordTooManyIsNamed) {
  ExpectUsage({"generate", "--", "hello"}, "generate takes no \"hello\"",
              "`lfm2ctl generate --help`");
  ExpectUsage({"generate", "hello", "world"}, "generate takes no \"hello\"",
              "`lfm2ctl generate --help`");
}

TEST(Usage, ANumberOutOfItsRangeIsToldTheRange) {
  ExpectUsage({"generate", "--seed", "-1"},
              "--seed is \"-1\": a whole number from 0 to 18446744073709551615 is needed",
              "`lfm2ctl generate --help`");
  ExpectUsage(
      {"generate", "--top_k", "x"},
      "--top_k is \"x\": a whole number from -9223372036854775808 to 9223372036854775807 is needed",
      "`lfm2ctl generate --help`");
  ExpectUsage({"generate", "--top_p", "x"}, "--top_p is \"x\": a number is needed",
              "`lfm2ctl generate --help`");
}

TEST(Usage, AListOfIdsWithAHoleIsRefusedWithThePlace) {
  const auto expect = [](const char* ids, const std::string& problem) {
    ExpectUsage({"generate", "--prompt_ids", ids}, "--prompt_ids: " + problem,
                "`lfm2ctl generate --help`");
  };
  expect("1,,2", "id 2 is empty");
  expect(",1", "id 1 is empty");
  expect("1, 2,", "id 3 is empty");
  expect("1,x", "id 2 is \"x\", a whole number from -2147483648 to 2147483647 is needed");
  const FakeServer server;
  const Outcome piped = RunCtl(server, {"detokenize"}, {.in = "1,\n2,,3\n"});
  EXPECT_EQ(piped.code, 5);
  EXPECT_THAT(piped.err, HasSubstr("id 3 is empty"));
  EXPECT_EQ(RunCtl(server, {"detokenize"}, {.in = "1, 2\n3\n"}).code, 0);
}

TEST(Usage, ErrorsFoundAfterParsingNameTheVerbToo) {
  ExpectUsage({"score", "--text", "a", "--tokens", "1", "--server", "127.0.0.1:1"},
              "exclude each other", "`lfm2ctl score --help`");
}

TEST(Usage, AFolderInThePlaceOfATextIsSaidToBeOne) {
  const FakeServer server;
  const TempFolder folder;
  for (const Arguments& arguments :
       {Arguments{"generate", "--prompt_file", folder / ""}, Arguments{"score", "-f", folder / ""},
        Arguments{"tokenize", "-f", folder / "none"}}) {
    const Outcome outcome = RunCtl(server, arguments);
    EXPECT_EQ(outcome.code, 3) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("FILE_NOT_FOUND")) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(arguments[1] == "-f" ? "--file: " : "--prompt_file: "));
  }
}

TEST(Usage, ATextWithoutAnEndIsReadUpToItsLimit) {
  const FakeServer server;
  const Outcome file = RunCtl(server, {"generate", "--prompt_file", "/dev/zero"});
  EXPECT_EQ(file.code, 7);
  EXPECT_THAT(file.err, HasSubstr("--prompt_file: /dev/zero has over 1048576 bytes"));
  const Outcome piped = RunCtl(server, {"generate"}, {.in = std::string((1 << 20) + 1, 'x')});
  EXPECT_EQ(piped.code, 7);
  EXPECT_THAT(piped.err, HasSubstr("stdin has over 1048576 bytes"));
  EXPECT_TRUE(server.captured.generate.empty());
  EXPECT_EQ(RunCtl({"model", "list", "--token_file", "/dev/zero"}).code, 78);
}

TEST(Usage, PriorityAndPrefixCacheReachTheRequest) {
  const FakeServer server;
  RunCtl(server, {"generate", "-p", "x"});
  RunCtl(server, {"generate", "-p", "x", "--priority", "low", "--no-prefix-cache"});
  RunCtl(server, {"chat", "--priority", "high"}, {.in = "hello\n"});
  ASSERT_EQ(server.captured.generate.size(), 3u);
  EXPECT_EQ(server.captured.generate[0].priority(), v1::PRIORITY_UNSPECIFIED);
  EXPECT_FALSE(server.captured.generate[0].has_use_prefix_cache());
  EXPECT_EQ(server.captured.generate[1].priority(), v1::PRIORITY_LOW);
  EXPECT_TRUE(server.captured.generate[1].has_use_prefix_cache());
  EXPECT_FALSE(server.captured.generate[1].use_prefix_cache());
  EXPECT_EQ(server.captured.generate[2].priority(), v1::PRIORITY_HIGH);
  EXPECT_EQ(RunCtl(server, {"generate", "-p", "x", "--priority", "urgent"}).code, 2);
}

}  // namespace
}  // namespace lfm2
