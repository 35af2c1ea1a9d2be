#include "client/calls/export_writer.h"

#include <gtest/gtest.h>

#include "base/errors.h"
#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using Names = std::vector<std::string>;

TEST(ExportWriter, NpzAndMetaComeWholeOrNotAtAll) {
  const FakeServer server;
  const TempFolder folder;
  const Outcome outcome =
      RunCtl(server, {"export", "--model", "ckpt", "--format", "npz", "--out", folder / "m.npz",
                      "--meta", folder / "meta.json", "-o", "json"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(folder.Read("m.npz"), "npz bytes");
  EXPECT_EQ(folder.Read("meta.json"), "{}");
  EXPECT_EQ(folder.Names(), (Names{"m.npz", "meta.json"}));
  EXPECT_EQ(Json::parse(outcome.out)["files"].size(), 2u);
}

TEST(ExportWriter, AHashThatDiffersLeavesTheOldFileAsItWas) {
  FakeServer server;
  server.export_damage = "model.npz";
  const TempFolder folder;
  folder.Write("m.npz", "old");
  const Outcome outcome = RunCtl(server, {"export", "--out", folder / "m.npz"});
  EXPECT_EQ(outcome.code, 70);
  EXPECT_NE(outcome.err.find("EXPORT_MISMATCH"), std::string::npos) << outcome.err;
  EXPECT_EQ(folder.Read("m.npz"), "old");
  EXPECT_EQ(folder.Names(), Names{"m.npz"});
}

TEST(ExportWriter, AStreamThatEndsEarlyLeavesNothing) {
  FakeServer server;
  server.export_cut = true;
  const TempFolder folder;
  EXPECT_EQ(RunCtl(server, {"export", "--out", folder / "m.npz"}).code, 70);
  EXPECT_EQ(RunCtl(server, {"export", "--out", folder / "hf"}).code, 70);
  EXPECT_EQ(folder.Names(), Names{});
}

TEST(ExportWriter, AFolderAppearsAtOnceWithAllFiles) {
  FakeServer server;
  server.export_files = {{"model.safetensors", std::string(3 << 19, 'w')}, {"config.json", "{}"}};
  const TempFolder folder;
  const Outcome outcome =
      RunCtl(server, {"export", "--model", "hf:a/b", "--local", "--out", (folder / "hf") + "/"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(folder.Names(), Names{"hf"});
  EXPECT_EQ(folder.Read("hf/model.safetensors").size(), size_t{3 << 19});
  EXPECT_EQ(server.captured.exports[0].format(), v1::EXPORT_FORMAT_SAFETENSORS);
  EXPECT_EQ(server.captured.exports[0].model().name(), "hf:a/b");
}

TEST(ExportWriter, AFolderThatHoldsSomethingIsRefusedBeforeTheCall) {
  const FakeServer server;
  const TempFolder folder;
  folder.Write("hf/mine.txt", "x");
  EXPECT_EQ(RunCtl(server, {"export", "--out", folder / "hf"}).code, 9);
  EXPECT_EQ(RunCtl(server, {"export", "--out", folder / "hf/mine.txt/m.npz"}).code, 5);
  EXPECT_TRUE(server.captured.exports.empty());
  EXPECT_EQ(folder.Read("hf/mine.txt"), "x");
}

TEST(ExportWriter, TheFoldersOnTheWayAreMadeAndGoWithAFailure) {
  FakeServer server;
  const TempFolder folder;
  server.export_cut = true;
  EXPECT_EQ(
      RunCtl(server, {"export", "--out", folder / "a/b/m.npz", "--meta", folder / "c/m.json"}).code,
      70);
  EXPECT_EQ(folder.Names(), Names{});
  server.export_cut = false;
  EXPECT_EQ(
      RunCtl(server, {"export", "--out", folder / "a/b/m.npz", "--meta", folder / "c/m.json"}).code,
      0);
  EXPECT_EQ(folder.Read("a/b/m.npz"), "npz bytes");
  EXPECT_EQ(folder.Read("c/m.json"), "{}");
}

TEST(ExportWriter, ANameThatLeadsElsewhereIsRefused) {
  for (const char* name : {"../evil", "/etc/x", "", "..", "a/b"}) {
    const TempFolder folder;
    ExportWriter writer({folder.path() / "out", {}, {}});
    v1::ExportedFile file;
    file.set_name(name);
    EXPECT_EQ(DetailsOf(writer.OnFile(file)).reason, Reason::kExportMismatch) << name;
  }
}

TEST(ExportWriter, BytesBeforeTheirFileAreRefused) {
  const TempFolder folder;
  ExportWriter writer({folder.path() / "out", {}, {}});
  EXPECT_FALSE(writer.OnChunk("x").ok());
}

TEST(ExportWriter, AFileThatTheEndDoesNotListIsRefused) {
  const TempFolder folder;
  {
    ExportWriter writer({folder.path() / "out", {}, {}});
    v1::ExportedFile file;
    file.set_name("a");
    ASSERT_TRUE(writer.OnFile(file).ok());
    EXPECT_FALSE(writer.OnDone({}).ok());
    EXPECT_FALSE(writer.committed());
  }
  EXPECT_EQ(folder.Names(), Names{});
}

}  // namespace
}  // namespace lfm2
