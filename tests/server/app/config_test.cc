#include "server/app/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/errors.h"

namespace lfm2 {
namespace {

using ::testing::HasSubstr;

std::string WriteToml(const std::string& text) {
  const std::string path = ::testing::TempDir() + "/" +
                           ::testing::UnitTest::GetInstance()->current_test_info()->name() +
                           ".toml";
  std::ofstream(path) << text;
  return path;
}

std::string OriginOf(const LoadedConfig& loaded, const std::string& key) {
  for (const ConfigValue& value : loaded.values) {
    if (value.key == key) return value.origin;
  }
  return "";
}

TEST(Config, FlagsOverEnvironmentOverFileOverDefaults) {
  ConfigSources sources;
  sources.file = WriteToml("listen = \"127.0.0.1:1\"\ndevice = \"cpu\"\nthreads = 3\n");
  sources.environment = {{"LFM2_LISTEN", "127.0.0.1:2"}, {"LFM2_THREADS", "4"}};
  sources.flags = {{"listen", "127.0.0.1:3"}};
  const auto loaded = LoadConfig(sources);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.listen, "127.0.0.1:3");
  EXPECT_EQ(loaded->config.threads, 4);
  EXPECT_EQ(loaded->config.device, "cpu");
  EXPECT_EQ(OriginOf(*loaded, "listen"), "flag --listen");
  EXPECT_EQ(OriginOf(*loaded, "threads"), "environment LFM2_THREADS");
  EXPECT_THAT(OriginOf(*loaded, "device"), HasSubstr("file "));
  EXPECT_EQ(OriginOf(*loaded, "dtype"), "default");
}

TEST(Config, NamesTheNearestKeyOfAnUnknownOne) {
  const auto loaded = LoadConfig({WriteToml("lisen = \"127.0.0.1:1\"\n"), {}, {}});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(DetailsOf(loaded.status()).reason, Reason::kConfigInvalid);
  EXPECT_THAT(std::string(loaded.status().message()), HasSubstr("nearest is \"listen\""));
}

TEST(Config, RefusesValuesOutOfRangeAndOfTheWrongType) {
  for (const char* text : {"threads = -1", "threads = \"many\"", "reflection = 1",
                           "log_format = \"xml\"", "listen = 1.5", "threads = [1]",
                           "[limits]\nwaiting_requests = 0", "[a.b]\nc = 1", "listen ="}) {
    EXPECT_FALSE(LoadConfig({WriteToml(text), {}, {}}).ok()) << text;
  }
}

TEST(Config, TakesLimitsFromTheEnvironment) {
  const auto loaded = LoadConfig({"", {{"LFM2_LIMITS_RUNNING_SEQUENCES", "7"}}, {}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.limits.running_sequences, 7);
}

TEST(Config, LeavesVariablesThatAreNotKeysToThoseWhoReadThem) {
  EXPECT_TRUE(LoadConfig({"", {{"LFM2_ISA", "portable"}, {"LFM2_TORCH_LIBRARY", "x"}}, {}}).ok());
  const auto client = LoadConfig({"", {{"LFM2_SERVER", "localhost:7070"}}, {}});
  EXPECT_EQ(DetailsOf(client.status()).reason, Reason::kConfigInvalid);
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("environment LFM2_SERVER: "));
  EXPECT_THAT(std::string(client.status().message()), HasSubstr("begin with LFM2CTL_"));
  EXPECT_TRUE(LoadConfig({"", {{"LFM2_SERVER", ""}}, {}}).ok());
}

TEST(Config, GuessingIsOnUntilItIsTurnedOff) {
  EXPECT_EQ(LoadConfig({})->config.limits.speculative_tokens, 8);
  const auto off = LoadConfig({WriteToml("[limits]\nspeculative_tokens = 0\n"
                                         "speculative_step_tokens = 40\n"),
                               {},
                               {}});
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_EQ(off->config.limits.speculative_tokens, 0);
  EXPECT_EQ(off->config.limits.speculative_step_tokens, 40);
  EXPECT_FALSE(LoadConfig({WriteToml("[limits]\nspeculative_tokens = -1\n"), {}, {}}).ok());
  EXPECT_FALSE(LoadConfig({WriteToml("[limits]\nspeculative_step_tokens = 0\n"), {}, {}}).ok());
}

TEST(Config, EveryFileInConfigsLoads) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LFM2_SOURCE_DIR "/configs")) {
    const auto loaded = LoadConfig({entry.path().string(), {}, {}});
    EXPECT_TRUE(loaded.ok()) << entry.path() << loaded.status();
    ++files;
  }
  EXPECT_GE(files, 2);
}

}  // namespace
}  // namespace lfm2
