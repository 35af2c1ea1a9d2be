#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <streambuf>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::ElementsAre;

TEST(Generate, StdoutIsExactlyTheText) {
  const FakeServer server;
  const Outcome outcome = RunCtl(server, {"generate", "--prompt", "hi"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_EQ(outcome.out, "Hello wörld!");
  EXPECT_EQ(outcome.err, "");
}

TEST(Generate, JsonIsOneObject) {
  const FakeServer server;
  const Json json = Json::parse(RunCtl(server, {"generate", "--prompt", "hi", "-o", "json"}).out);
  EXPECT_EQ(json["text"], "Hello wörld!");
  EXPECT_EQ(json["token_ids"], Json({10, 11, 12}));
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["completion_tokens"], 3);
  EXPECT_EQ(json["model"], "ckpt");
  EXPECT_EQ(json["version"], "v1");
  EXPECT_TRUE(json.contains("timings"));
  EXPECT_FALSE(json.contains("logprobs"));
}

TEST(Generate, JsonLinesHaveAnEventEach) {
  const FakeServer server;
  std::istringstream lines(RunCtl(server, {"generate", "-p", "hi", "-o", "jsonl"}).out);
  std::vector<std::string> types;
  for (std::string line; std::getline(lines, line);) types.push_back(Json::parse(line)["type"]);
  EXPECT_THAT(types, ElementsAre("start", "token", "token", "token", "end"));
}

TEST(Generate, LogprobsAreInTheJson) {
  const FakeServer server;
  const Json json =
      Json::parse(RunCtl(server, {"generate", "-p", "hi", "--logprobs", "0", "-o", "json"}).out);
  EXPECT_EQ(json["logprobs"].size(), 3u);
  EXPECT_EQ(server.captured.generate[0].logprobs(), 0);
  EXPECT_TRUE(server.captured.generate[0].has_logprobs());
}

TEST(Generate, EveryFlagReachesTheRequestAndUnsetStaysUnset) {
  const FakeServer server;
  RunCtl(server, {"generate", "-p", "x"});
  RunCtl(server, {"generate",
                  "-p",
                  "x",
                  "--temperature",
                  "0.7",
                  "--top-k",
                  "5",
                  "--top_p",
                  "0.9",
                  "--min_p",
                  "0.1",
                  "--repetition_penalty",
                  "1.1",
                  "--presence-penalty",
                  "0.5",
                  "--frequency_penalty",
                  "-0.25",
                  "--logit_bias",
                  "7=-100",
                  "--logit_bias",
                  "8=1.5",
                  "--seed",
                  "18446744073709551615",
                  "--stop",
                  "[a,b]",
                  "--stop",
                  "c",
                  "--stop_ids",
                  "7,8",
                  "--ignore-eos",
                  "--no-special",
                  "--allow-special",
                  "--request-id",
                  "r1",
                  "--max-new-tokens",
                  "0"});
  const v1::GenerateRequest& plain = server.captured.generate[0];
  EXPECT_FALSE(plain.has_model() || plain.has_sampling() || plain.has_max_new_tokens() ||
               plain.has_add_special());
  const v1::GenerateRequest& full = server.captured.generate[1];
  EXPECT_EQ(full.sampling().temperature(), 0.7);
  EXPECT_EQ(full.sampling().top_k(), 5);
  EXPECT_EQ(full.sampling().presence_penalty(), 0.5);
  EXPECT_EQ(full.sampling().frequency_penalty(), -0.25);
  EXPECT_EQ(full.sampling().logit_bias().at(7), -100);
  EXPECT_EQ(full.sampling().logit_bias().at(8), 1.5);
  EXPECT_EQ(full.sampling().seed(), 18446744073709551615u);
  EXPECT_THAT(full.stop(), ElementsAre("[a,b]", "c"));
  EXPECT_THAT(full.stop_ids(), ElementsAre(7, 8));
  EXPECT_TRUE(full.ignore_eos() && full.parse_special() && full.has_add_special() &&
              !full.add_special());
  EXPECT_EQ(full.request_id(), "r1");
  EXPECT_TRUE(full.has_max_new_tokens());
}

TEST(Generate, ABiasIsAnIdAndANumber) {
  const FakeServer server;
  for (const char* wrong : {"7", "x=1", "7=y", "=1", "99999999999=1"}) {
    const Outcome refused = RunCtl(server, {"generate", "-p", "x", "--logit_bias", wrong});
    EXPECT_EQ(refused.code, 2) << wrong;
    EXPECT_THAT(refused.err, testing::HasSubstr("is not ID=BIAS"));
  }
}

TEST(Generate, ThePromptComesFromFlagFileStdinOrChat) {
  const FakeServer server;
  const TempFolder folder;
  const std::string file = folder.Write("p.txt", "from file\n");
  RunOptions piped;
  piped.in = "from stdin\n";
  RunCtl(server, {"generate", "-f", file});
  RunCtl(server, {"generate"}, piped);
  RunCtl(server, {"generate", "-f", "-"}, piped);
  RunCtl(server, {"generate", "--prompt", "--looks-like-a-flag"});
  RunCtl(server, {"generate", "--chat", "system: be brief", "--chat", "user:hi"});
  const auto& requests = server.captured.generate;
  ASSERT_EQ(requests.size(), 5u);
  EXPECT_EQ(requests[0].text(), "from file\n");
  EXPECT_EQ(requests[1].text(), "from stdin\n");
  EXPECT_EQ(requests[2].text(), "from stdin\n");
  EXPECT_EQ(requests[3].text(), "--looks-like-a-flag");
  EXPECT_EQ(requests[4].chat().messages(0).content(), "be brief");
  EXPECT_EQ(requests[4].chat().messages(1).role(), "user");
}

TEST(Generate, ToolsGoAsOneObjectEach) {
  FakeServer server;
  const std::string tools = R"([{"name": "f", "parameters": {}}, {"name": "g"}])";
  RunCtl(server, {"generate", "--chat", "user: hi", "--tools", tools});
  ASSERT_EQ(server.captured.generate.size(), 1u);
  const auto& sent = server.captured.generate[0].chat().tools();
  ASSERT_EQ(sent.size(), 2);
  EXPECT_EQ(sent[0], R"({"name":"f","parameters":{}})");
  EXPECT_EQ(RunCtl(server, {"generate", "--prompt", "x", "--tools", tools}).code, 2);
  EXPECT_EQ(RunCtl(server, {"generate", "--chat", "user:x", "--tools", "[1"}).code, 5);
  EXPECT_EQ(RunCtl(server, {"generate", "--chat", "user:x", "--tools", "nowhere.json"}).code, 3);
  const std::string deep(100'000, '[');
  EXPECT_EQ(RunCtl(server, {"generate", "--chat", "user:x", "--tools", deep}).code, 5);
  EXPECT_EQ(server.captured.generate.size(), 1u);
}

TEST(Generate, BytesThatAreNotUtf8GoAsBytes) {
  const FakeServer server;
  RunOptions piped;
  piped.in = "\xff\xfe";
  EXPECT_EQ(RunCtl(server, {"generate"}, piped).code, 0);
  EXPECT_EQ(server.captured.generate[0].text_bytes(), "\xff\xfe");
  EXPECT_EQ(RunCtl(server, {"generate", "-p", "x", "--stop", "\xff"}).code, 5);
}

TEST(Generate, TwoPromptsAreAUsageError) {
  const FakeServer server;
  EXPECT_EQ(RunCtl(server, {"generate", "-p", "x", "--prompt_ids", "1"}).code, 2);
  EXPECT_EQ(RunCtl(server, {"generate", "--chat", "nobody:x"}).code, 2);
  RunOptions terminal;
  terminal.in_is_terminal = true;
  EXPECT_EQ(RunCtl(server, {"generate"}, terminal).code, 2);
}

TEST(Generate, CtrlCCancelsPrintsWhatWasMadeAndEndsWith130) {
  FakeServer server;
  Interrupts interrupts;
  server.after_first_token = [&interrupts] { EXPECT_FALSE(interrupts.Raise()); };
  RunOptions options;
  options.interrupts = &interrupts;
  const Outcome outcome = RunCtl(server, {"generate", "-p", "hi", "-o", "json"}, options);
  EXPECT_EQ(outcome.code, 130);
  EXPECT_EQ(Json::parse(outcome.out)["finish_reason"], "cancelled");
}

TEST(Generate, AnErrorIsOneJsonObjectOnStderr) {
  FakeServer server;
  server.errors["Generate"] = DetailedStatus(
      grpc::StatusCode::INVALID_ARGUMENT, "prompt has 9000 tokens, limit 8192", "PROMPT_TOO_LONG");
  const Outcome outcome = RunCtl(server, {"generate", "-p", "hi", "-o", "json"});
  EXPECT_EQ(outcome.code, 5);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(Json::parse(outcome.err)["error"]["reason"], "PROMPT_TOO_LONG");
}

TEST(Generate, AReaderThatHasGoneEndsTheRunQuietly) {
  struct : std::streambuf {
    std::streamsize xsputn(const char*, std::streamsize) override {
      errno = EPIPE;
      return 0;
    }
  } gone;
  const FakeServer server;
  std::istringstream in;
  std::ostringstream err;
  std::ostream out(&gone);
  Console console{in, out, err};
  Interrupts interrupts;
  EXPECT_EQ(RunCommandLine({"generate", "-p", "x", "--server", server.address()},
                           {console, interrupts, "1"}),
            0);
  EXPECT_EQ(err.str(), "");
}

TEST(Generate, InitFromMakesAModelOnceAndThenFindsIt) {
  const FakeServer server;
  const TempFolder folder;
  const std::string npz = folder.Write("f.npz", "weights");
  for (int i = 0; i < 2; ++i) {
    const Outcome outcome =
        RunCtl(server, {"generate", "--init_from", npz, "--hf_tokenizer", "LiquidAI/LFM2-1.2B",
                        "--prompt", "hello world", "--max_new_tokens", "16", "--n_kv_heads", "4",
                        "--parallel_residual", "-q"});
    // The tokenizer is a model of the server's cache; the fake has none of that name at first.
    EXPECT_EQ(outcome.code, 3) << outcome.err;
  }
  EXPECT_TRUE(server.captured.init.empty());
}

TEST(Generate, TheNameOfAnImpliedModelComesFromItsContent) {
  FakeServer server;
  server.models["hf:LiquidAI/LFM2-1.2B"] = FakeServer::MakeModel("hf:LiquidAI/LFM2-1.2B");
  const TempFolder folder;
  const std::string npz = folder.Write("f.npz", "weights");
  const std::vector<std::string> arguments = {
      "generate",     "--init_from", npz, "--hf_tokenizer", "LiquidAI/LFM2-1.2B", "-p", "hi",
      "--n_kv_heads", "4",           "-q"};
  EXPECT_EQ(RunCtl(server, arguments).code, 0);
  EXPECT_EQ(RunCtl(server, arguments).code, 0);
  ASSERT_EQ(server.captured.init.size(), 1u);
  const v1::InitModelRequest& init = server.captured.init[0];
  EXPECT_TRUE(init.partial());
  EXPECT_EQ(init.shape().n_kv_heads(), 4);
  EXPECT_EQ(init.tokenizer().hf(), "LiquidAI/LFM2-1.2B");
  EXPECT_EQ(init.source().files().files(0).dataset(), "sha256:" + Sha256Hex("weights"));
  EXPECT_THAT(init.name(), testing::MatchesRegex("init-[0-9a-f]+"));
  ASSERT_EQ(server.captured.generate.size(), 2u);
  EXPECT_EQ(server.captured.generate[1].model().name(), init.name());
}

TEST(Chat, KeepsTheHistoryAndEndsAtExit) {
  const FakeServer server;
  RunOptions options;
  options.in = "one\n\ntwo\n/exit\nthree\n";
  const Outcome outcome =
      RunCtl(server, {"chat", "--model", "ckpt", "--system", "be brief"}, options);
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "Hello wörld!\nHello wörld!\n");
  ASSERT_EQ(server.captured.generate.size(), 2u);
  const auto& messages = server.captured.generate[1].chat().messages();
  ASSERT_EQ(messages.size(), 4);
  EXPECT_EQ(messages[2].role(), "assistant");
  EXPECT_EQ(messages[2].content(), "Hello wörld!");
  EXPECT_EQ(messages[3].content(), "two");
}

}  // namespace
}  // namespace lfm2
