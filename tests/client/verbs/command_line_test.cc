// Every row of the table of the original's scripts, the global flags, and exit codes as a shell
// sees them.
#include "client/verbs/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(OriginalScripts, InitFromHf) {
  const FakeServer server;
  const Outcome outcome =
      RunCtl(server, {"model", "init", "--from", "hf:LiquidAI/LFM2-1.2B", "--local", "--arch",
                      "hybrid", "--attn_every", "2", "--parallel_residual", "--name", "ckpt"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const v1::InitModelRequest& request = server.captured.init[0];
  EXPECT_EQ(request.source().hf(), "LiquidAI/LFM2-1.2B");
  EXPECT_EQ(request.shape().architecture(), "hybrid");
  EXPECT_EQ(request.shape().attn_every(), 2);
  EXPECT_TRUE(request.shape().parallel_residual());
  EXPECT_EQ(request.name(), "ckpt");
  EXPECT_FALSE(request.partial());
  EXPECT_FALSE(request.request_id().empty());
}

TEST(OriginalScripts, HfExportNpz) {
  const FakeServer server;
  const TempFolder folder;
  const Outcome outcome =
      RunCtl(server, {"export", "--model", "hf:LiquidAI/LFM2-1.2B", "--local", "--format", "npz",
                      "--out", folder / "f.npz", "--meta", folder / "f.json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(server.captured.exports[0].model().name(), "hf:LiquidAI/LFM2-1.2B");
  EXPECT_EQ(server.captured.exports[0].format(), v1::EXPORT_FORMAT_NPZ);
}

TEST(OriginalScripts, PartialLoad) {
  const FakeServer server;
  const TempFolder folder;
  const std::string npz = folder.Write("f.npz", "weights");
  for (const char* flag : {"--from", "--src"}) {
    ASSERT_EQ(RunCtl(server, {"model", "init", flag, npz, "--partial", "--vocab_size", "300",
                              "--d_model", "64", flag[2] == 's' ? "--save" : "--name", "ckpt"})
                  .code,
              0);
    const v1::InitModelRequest& request = server.captured.init.back();
    EXPECT_TRUE(request.partial());
    EXPECT_EQ(request.shape().vocab_size(), 300);
    EXPECT_EQ(request.shape().d_model(), 64);
    EXPECT_EQ(request.source().files().files(0).name(), "f.npz");
  }
}

TEST(OriginalScripts, TrainTorch) {
  FakeServer server;
  const TempFolder folder;
  const std::string text = folder.Write("t.txt", "some text");
  folder.Write("tok/tokenizer.json", "{}");
  v1::JobEvent event;
  event.set_seq(1);
  event.mutable_state()->set_state(v1::JOB_STATE_SUCCEEDED);
  server.events = {event};
  const Outcome outcome = RunCtl(server, {"train",
                                          "start",
                                          "--data_path",
                                          text,
                                          "--hf_tokenizer",
                                          folder / "tok",
                                          "--init_from",
                                          "ckpt",
                                          "--save_path",
                                          "out",
                                          "--steps",
                                          "200",
                                          "--batch_size",
                                          "4",
                                          "--seq_len",
                                          "128",
                                          "--lr",
                                          "3e-4",
                                          "--device",
                                          "cuda",
                                          "--n_kv_heads",
                                          "4",
                                          "--parallel_residual",
                                          "--watch"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("job-1\n"));
  const v1::StartTrainingRequest& request = server.captured.start[0];
  EXPECT_EQ(request.name(), "out");
  EXPECT_EQ(request.datasets(0).dataset(), "sha256:" + Sha256Hex("some text"));
  EXPECT_EQ(request.datasets(0).name(), "t.txt");
  EXPECT_EQ(request.tokenizer().files().files(0).name(), "tokenizer.json");
  EXPECT_EQ(request.init_from().model(), "ckpt");
  EXPECT_FALSE(request.partial());
  EXPECT_EQ(request.options().steps(), 200);
  EXPECT_EQ(request.options().batch_size(), 4);
  EXPECT_EQ(request.options().seq_len(), 128);
  EXPECT_EQ(request.options().lr(), 3e-4);
  EXPECT_EQ(request.options().device(), "cuda");
  EXPECT_FALSE(request.options().has_seed());
  EXPECT_EQ(request.shape().n_kv_heads(), 4);
  EXPECT_FALSE(request.request_id().empty());
}

TEST(OriginalScripts, TrainFromABareNpzTakesWhatFits) {
  const FakeServer server;
  const TempFolder folder;
  const std::string text = folder.Write("t.txt", "x"), npz = folder.Write("f.npz", "w");
  RunCtl(server, {"train", "start", "--data_path", text, "--init_from", npz, "--name", "a"});
  RunCtl(server, {"train", "start", "--data_path", text, "--init_from", npz, "--name", "a",
                  "--no_partial"});
  EXPECT_TRUE(server.captured.start[0].partial());
  EXPECT_FALSE(server.captured.start[1].partial());
}

TEST(OriginalScripts, InferTorch) {
  const FakeServer server;
  const Outcome outcome =
      RunCtl(server, {"generate", "--load_path", "ckpt", "--prompt", "hello world",
                      "--max_new_tokens", "32", "--n_kv_heads", "4", "--parallel_residual"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(server.captured.generate[0].model().name(), "ckpt");
  EXPECT_EQ(server.captured.generate[0].text(), "hello world");
  EXPECT_EQ(server.captured.generate[0].max_new_tokens(), 32);
}

TEST(OriginalScripts, InferTorchByIdsUsesTheDefaultModel) {
  const FakeServer server;
  ASSERT_EQ(RunCtl(server, {"generate", "--prompt_ids", "1,2,3,4", "--max_new_tokens", "8"}).code,
            0);
  EXPECT_FALSE(server.captured.generate[0].has_model());
  EXPECT_THAT(server.captured.generate[0].tokens().ids(), ElementsAre(1, 2, 3, 4));
}

TEST(OriginalScripts, ParityCheck) {
  const FakeServer server;
  const Outcome outcome =
      RunCtl(server, {"parity", "--model", "ckpt", "--tokens", "1,2,3,4", "-o", "json"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["probes"][0]["name"], "model.layers.0");
  for (const char* key : {"shape", "sum", "abs_mean", "max", "norm"})
    EXPECT_TRUE(json["probes"][0].contains(key));
  EXPECT_EQ(json["logits"], Json({3.0, 0.25}));
  EXPECT_THAT(server.captured.parity[0].tokens(), ElementsAre(1, 2, 3, 4));
}

TEST(OriginalScripts, FlagsThatContradictTheModelAreRefusedWithBothValues) {
  const FakeServer server;
  const Outcome outcome = RunCtl(server, {"parity", "--tokens", "1", "--n_kv_heads", "2"});
  EXPECT_EQ(outcome.code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("--n_kv_heads is 2, the model has 4"));
  EXPECT_TRUE(server.captured.parity.empty());
}

TEST(Parity, AllLogitsAreAListForEachPosition) {
  const FakeServer server;
  const Outcome outcome =
      RunCtl(server, {"parity", "--tokens", "1,2", "--logits", "all", "-o", "json"});
  EXPECT_EQ(Json::parse(outcome.out)["logits"], Json::parse("[[0.0,0.25],[1.0,0.25]]"));
}

TEST(Parity, ADifferenceNamesTheFirstProbeAndEndsWith1) {
  FakeServer server;
  EXPECT_EQ(
      RunCtl(server, {"parity", "--tokens", "1,2", "--against", "other", "--tolerance", "0"}).code,
      0);
  EXPECT_EQ(server.captured.parity[0].against().model(), "other");
  EXPECT_TRUE(server.captured.parity[0].has_tolerance());
  server.first_difference = "model.layers.0";
  const Outcome outcome = RunCtl(server, {"parity", "--tokens", "1,2", "--against", "other"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.err, HasSubstr("model.layers.0, by 0.125 (tolerance 0.0001)"));
}

TEST(TrainStart, ARetryOfTheClientKeepsItsRequestId) {
  FakeServer server;
  server.start_errors = {{grpc::StatusCode::UNAVAILABLE, "restarting"},
                         {grpc::StatusCode::UNAVAILABLE, "restarting"}};
  const TempFolder folder;
  const Outcome outcome = RunCtl(server, {"train", "start", "--data_path",
                                          folder.Write("t.txt", "x"), "--name", "a", "-o", "json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Json::parse(outcome.out)["job"]["id"], "job-1");
  ASSERT_EQ(server.captured.start.size(), 3u);
  EXPECT_EQ(server.captured.start[0].request_id(), server.captured.start[2].request_id());
}

TEST(TrainStart, ValidateOnlyPrintsThePlan) {
  const FakeServer server;
  const TempFolder folder;
  const Outcome outcome =
      RunCtl(server, {"train", "start", "--data_path", folder.Write("t.txt", "x"),
                      "--validate-only", "-o", "json"});
  EXPECT_EQ(Json::parse(outcome.out)["plan"]["dataset_tokens"], 1000);
  EXPECT_TRUE(server.captured.start[0].validate_only());
}

TEST(TrainStart, FilesOfTheSameNameGetDifferentOnes) {
  const FakeServer server;
  const TempFolder folder;
  RunCtl(server, {"train", "start", "--data_path", folder.Write("a/t.txt", "x"), "--data_path",
                  folder.Write("b/t.txt", "y"), "--name", "m", "--label", "k=v=w"});
  EXPECT_EQ(server.captured.start[0].datasets(0).name(), "t.txt");
  EXPECT_EQ(server.captured.start[0].datasets(1).name(), "2-t.txt");
  EXPECT_EQ(server.captured.start[0].labels().at("k"), "v=w");
}

TEST(TrainStart, AFailedJobThatIsWatchedEndsWith1) {
  FakeServer server;
  server.job.set_state(v1::JOB_STATE_FAILED);
  const TempFolder folder;
  const std::vector<std::string> start = {
      "train", "start", "--data_path", folder.Write("t.txt", "x"), "--name", "m"};
  EXPECT_EQ(RunCtl(server, start).code, 0);
  std::vector<std::string> watched = start;
  watched.push_back("--watch");
  EXPECT_EQ(RunCtl(server, watched).code, 1);
}

TEST(TrainList, FollowsPagesUpToTheLimit) {
  const FakeServer server;
  const Outcome outcome = RunCtl(server, {"train", "list", "--state", "running", "-o", "json"});
  EXPECT_EQ(Json::parse(outcome.out)["jobs"].size(), 2u);
  EXPECT_EQ(server.captured.list_jobs[0].state(), v1::JOB_STATE_RUNNING);
  EXPECT_EQ(server.captured.list_jobs[1].page_token(), "page-2");
  EXPECT_EQ(RunCtl(server, {"train", "list", "--state", "lost"}).code, 2);
}

TEST(TrainJobs, GetAndCancelSendTheId) {
  const FakeServer server;
  EXPECT_EQ(RunCtl(server, {"train", "get", "job-1"}).code, 0);
  EXPECT_EQ(RunCtl(server, {"train", "cancel", "job-2"}).code, 0);
  EXPECT_THAT(server.captured.get_job, ElementsAre("job-1"));
  EXPECT_THAT(server.captured.cancel, ElementsAre("job-2"));
}

TEST(ModelInit, TheReportCountsFatesAndNamesWhatWasNotCopied) {
  FakeServer server;
  auto* copied = server.report.add_tensors();
  copied->set_name("embed");
  copied->set_fate(v1::TensorReport::FATE_COPIED);
  auto* wrong = server.report.add_tensors();
  wrong->set_name("lm_head");
  wrong->set_fate(v1::TensorReport::FATE_WRONG_SHAPE);
  wrong->set_note("[4, 64] against [4, 32]");
  const std::vector<std::string> arguments = {"model", "init", "--name", "x"};
  const Outcome brief = RunCtl(server, arguments);
  EXPECT_THAT(brief.out, HasSubstr("wrong_shape  1"));
  EXPECT_THAT(brief.out, HasSubstr("[4, 64] against [4, 32]"));
  EXPECT_THAT(brief.out, testing::Not(HasSubstr("embed")));
  EXPECT_THAT(RunCtl(server, {"model", "init", "--name", "x", "-v"}).out, HasSubstr("embed"));
  EXPECT_FALSE(server.captured.init[0].has_source());
}

TEST(ExitCodes, EachStatusOfTheServerHasItsOwn) {
  FakeServer server;
  const std::vector<std::pair<grpc::StatusCode, int>> expected = {
      {grpc::StatusCode::NOT_FOUND, 3},
      {grpc::StatusCode::UNAUTHENTICATED, 4},
      {grpc::StatusCode::PERMISSION_DENIED, 4},
      {grpc::StatusCode::INVALID_ARGUMENT, 5},
      {grpc::StatusCode::OUT_OF_RANGE, 5},
      {grpc::StatusCode::UNAVAILABLE, 6},
      {grpc::StatusCode::RESOURCE_EXHAUSTED, 7},
      {grpc::StatusCode::DEADLINE_EXCEEDED, 8},
      {grpc::StatusCode::ALREADY_EXISTS, 9},
      {grpc::StatusCode::ABORTED, 9},
      {grpc::StatusCode::FAILED_PRECONDITION, 9},
      {grpc::StatusCode::INTERNAL, 70},
      {grpc::StatusCode::UNKNOWN, 70},
      {grpc::StatusCode::DATA_LOSS, 70}};
  for (const auto& [code, exit_code] : expected) {
    server.errors["Generate"] = grpc::Status(code, "x");
    EXPECT_EQ(RunCtl(server, {"generate", "-p", "x"}).code, exit_code);
    server.errors["ListModels"] = grpc::Status(code, "x");
    EXPECT_EQ(RunCtl(server, {"model", "list"}).code, exit_code);
  }
}

TEST(ExitCodes, UsageErrorsAre2AndJsonWhenAsked) {
  EXPECT_EQ(RunCtl({}).code, 2);
  EXPECT_EQ(RunCtl({"nonsense"}).code, 2);
  EXPECT_EQ(RunCtl({"generate", "--nonsense"}).code, 2);
  EXPECT_EQ(RunCtl({"generate", "--seed", "-1"}).code, 2);
  EXPECT_EQ(RunCtl({"generate", "-o", "xml"}).code, 2);
  const Outcome outcome = RunCtl({"generate", "--nonsense", "-o", "json"});
  EXPECT_EQ(Json::parse(outcome.err)["error"]["reason"], "USAGE");
}

TEST(ExitCodes, NoServerIs6AndADeadlineIs8) {
  FakeServer server;
  const std::string address = server.address();
  Interrupts interrupts;
  server.after_first_token = [] {};
  EXPECT_EQ(RunCtl(server, {"generate", "-p", "x", "--timeout", "0.2"}).code, 8);
  server.Stop();
  EXPECT_EQ(RunCtl({"model", "list", "--server", address}).code, 6);
}

TEST(GlobalFlags, ATokenGoesToALocalAddressAndNotOverAPlainNetwork) {
  const FakeServer server;
  const TempFolder folder;
  const std::string token = folder.Write("token", "s3cret\n");
  EXPECT_EQ(RunCtl(server, {"generate", "-p", "x", "--token-file", token}).code, 0);
  EXPECT_THAT(server.captured.authorization, ElementsAre("Bearer s3cret"));
  const Outcome refused =
      RunCtl({"model", "list", "--server", "10.0.0.1:7070", "--token-file", token});
  EXPECT_EQ(refused.code, 78);
  EXPECT_THAT(refused.err, testing::Not(HasSubstr("s3cret")));
}

TEST(GlobalFlags, BadTokenAndTlsFilesAre78) {
  const TempFolder folder;
  EXPECT_EQ(RunCtl({"model", "list", "--token_file", folder / "none"}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--token_file", folder.Write("empty", "\n")}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--token_file", folder.Write("two", "a b")}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--tls-ca", folder.Write("ca", "no pem")}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--tls-cert", folder.Write("c", "-----BEGIN X")}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--server", "nowhere"}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--server", "host:99999"}).code, 78);
  EXPECT_EQ(RunCtl({"model", "list", "--timeout", "0"}).code, 2);
}

TEST(GlobalFlags, WhatIsLocal) {
  for (const char* local :
       {"unix:/run/x", "localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"}) {
    EXPECT_TRUE(IsLocalAddress(local)) << local;
  }
  for (const char* remote :
       {"10.0.0.1:1", "localhost.evil.com:1", "127.0.0.1.evil.com:1", "0.0.0.0:1", "[::]:1"}) {
    EXPECT_FALSE(IsLocalAddress(remote)) << remote;
  }
}

// A variable of the environment, for as long as it lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_.c_str()); }

 private:
  const std::string name_;
};

TEST(GlobalFlags, TheServerMayComeFromTheEnvironment) {
  const FakeServer server;
  const Variable named("LFM2CTL_SERVER", server.address());
  const Variable old("LFM2_SERVER", "127.0.0.1:1");
  EXPECT_EQ(RunCtl({"model", "list"}).code, 0);
}

TEST(GlobalFlags, AnOldNameOfAVariableIsRefusedWhereItWouldCount) {
  const FakeServer server;
  for (const std::string name : {"SERVER", "TLS_CA", "TOKEN_FILE"}) {
    const Variable old("LFM2_" + name, server.address());
    const Outcome outcome =
        name == "SERVER" ? RunCtl({"model", "list"}) : RunCtl(server, {"model", "list"});
    EXPECT_EQ(outcome.code, 78) << name;
    EXPECT_THAT(outcome.err,
                HasSubstr("LFM2_" + name + " is not read any more: name it LFM2CTL_" + name));
  }
  {
    const Variable blank("LFM2_TOKEN_FILE", "");
    EXPECT_EQ(RunCtl(server, {"model", "list"}).code, 0);
  }
  const Variable old("LFM2_SERVER", "127.0.0.1:1");
  EXPECT_EQ(RunCtl(server, {"model", "list"}).code, 0);
  EXPECT_EQ(RunCtl({"version"}).code, 0);
}

TEST(GlobalFlags, TheDaemonsKeyPairInTheEnvironmentIsNotTheClients) {
  const FakeServer server;
  const TempFolder folder;
  const std::string text = folder.Write("pem", "-----BEGIN X");
  const Variable cert("LFM2_TLS_CERT", text), key("LFM2_TLS_KEY", text);
  EXPECT_EQ(RunCtl(server, {"model", "list"}).code, 0);
  const Variable own("LFM2CTL_TLS_CERT", text);
  EXPECT_EQ(RunCtl(server, {"model", "list"}).code, 78);
}

TEST(Verbs, HelpAndVersionNeedNoServer) {
  EXPECT_THAT(RunCtl({"--help"}).out, HasSubstr("Exit codes"));
  EXPECT_THAT(RunCtl({"train", "start", "--help"}).out, HasSubstr("--grad_accumulation"));
  EXPECT_EQ(RunCtl({"version"}).out, "lfm2ctl 1.2.3 (lfm2.v1)\n");
  EXPECT_EQ(Json::parse(RunCtl({"version", "-o", "json"}).out)["version"], "1.2.3");
  EXPECT_EQ(RunCtl({"--version"}).code, 0);
}

TEST(Verbs, ErrorsPrintsTheWholeTable) {
  EXPECT_EQ(Json::parse(RunCtl({"errors", "-o", "json"}).out)["errors"].size(),
            AllReasons().size());
  EXPECT_THAT(RunCtl({"errors", "--markdown"}).out,
              HasSubstr("| `QUEUE_FULL` | RESOURCE_EXHAUSTED | 7 |"));
}

TEST(Verbs, CompletionKnowsEveryVerbAndFlag) {
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const Outcome outcome = RunCtl({"completion", shell});
    EXPECT_EQ(outcome.code, 0);
    for (const char* word :
         {"generate", "detokenize", "upload", "max_new_tokens", "grad_accumulation"}) {
      EXPECT_THAT(outcome.out, HasSubstr(word)) << shell;
    }
  }
  EXPECT_EQ(RunCtl({"completion", "tcsh"}).code, 2);
}

TEST(Health, IsZeroOnlyWhenEveryServiceAnswers) {
  FakeServer server;
  auto* health = server.server().GetHealthCheckService();
  for (const char* service : {"lfm2.v1.Generation", "lfm2.v1.Training", "lfm2.v1.Models"}) {
    health->SetServingStatus(service, true);
  }
  EXPECT_EQ(RunCtl(server, {"health"}).code, 0);
  health->SetServingStatus("lfm2.v1.Generation", false);
  const Outcome outcome = RunCtl(server, {"health", "-o", "json"});
  EXPECT_EQ(outcome.code, 6);
  EXPECT_EQ(Json::parse(outcome.out)["services"][1]["status"], "not_serving");
  EXPECT_EQ(RunCtl(server, {"health", "--live"}).code, 0);
  EXPECT_EQ(RunCtl(server, {"health", "--service", "lfm2.v1.Nothing"}).code, 6);
}

TEST(DatasetVerbs, UploadSendsNameSizeAndHash) {
  const FakeServer server;
  const TempFolder folder;
  const std::string big(size_t{5} << 19, 'x');
  const Outcome outcome =
      RunCtl(server, {"dataset", "upload", folder.Write("a.txt", big), folder.Write("b.txt", "")});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("sha256:" + Sha256Hex(big)));
  EXPECT_EQ(server.captured.upload[0].bytes(), static_cast<int64_t>(big.size()));
  EXPECT_EQ(server.captured.upload[0].sha256(), Sha256Hex(big));
  EXPECT_EQ(server.captured.upload[0].name(), "a.txt");
  EXPECT_EQ(RunCtl(server, {"dataset", "upload", folder / "none"}).code, 3);
  ASSERT_EQ(mkfifo((folder / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(RunCtl(server, {"dataset", "upload", folder / "fifo"}).code, 3);  // at once
  EXPECT_EQ(RunCtl(server, {"dataset", "list"}).code, 0);
}

}  // namespace
}  // namespace lfm2
