// What needs lfm2ctl as a process: its own standard output, signals and limits.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::HasSubstr;

// `command` by the shell, with $CTL for lfm2ctl; `out` stays empty.
Outcome Shell(const std::string& command, const TempFolder& folder) {
  const std::string program = std::string(LFM2_BINARY_DIR) + "/lfm2ctl";
  const std::string whole = "CTL='" + program + "'; { " + command + "; } 2>" + (folder / "err");
  const int status = system(whole.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, "", folder.Read("err")};
}

TEST(Process, OutputThatCannotBeWrittenIsAnErrorThatSaysWhy) {
  const FakeServer server;
  const TempFolder folder;
  const std::string address = " --server " + server.address();
  for (const std::string& verb :
       {"generate -p x" + address, "generate -p x -o json" + address,
        "generate -p x -o jsonl" + address, "model list" + address, "parity --tokens 1,2" + address,
        "tokenize --text x" + address, std::string("errors"), std::string("completion bash"),
        std::string("version"), std::string("--version"), std::string("--help"),
        std::string("train start --help")}) {
    const Outcome outcome = Shell("\"$CTL\" " + verb + " >/dev/full", folder);
    EXPECT_EQ(outcome.code, 7) << verb;
    EXPECT_THAT(outcome.err, HasSubstr("writing standard output: No space left on device")) << verb;
    EXPECT_THAT(outcome.err, testing::Not(HasSubstr("data_dir"))) << verb;
  }
}

TEST(Process, AReaderThatHasGoneIsNoError) {
  const TempFolder folder;
  // The reader is gone before the first byte comes.
  const Outcome outcome =
      Shell("{ sleep 0.3; \"$CTL\" errors; echo $? >" + (folder / "code") + "; } | true", folder);
  EXPECT_EQ(folder.Read("code"), "0\n");
  EXPECT_EQ(outcome.err, "");
}

TEST(Process, AnExportOverTheLimitOfAFileLeavesNothing) {
  FakeServer server;
  server.export_files = {{"model.npz", std::string(1 << 20, 'w')}, {"model.json", "{}"}};
  const TempFolder folder, out;
  const Outcome outcome = Shell(
      "ulimit -f 64; \"$CTL\" export --out " + (out / "m.npz") + " --server " + server.address(),
      folder);
  EXPECT_EQ(outcome.code, 7) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("DISK_FULL"));
  EXPECT_THAT(outcome.err, testing::Not(HasSubstr("data_dir")));
  EXPECT_EQ(out.Names(), std::vector<std::string>{});
}

}  // namespace
}  // namespace lfm2
