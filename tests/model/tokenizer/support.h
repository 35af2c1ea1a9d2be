// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/json.h"
#include "model/tokenizer/json/bpe_tokenizer.h"
#include "model/tokenizer/load_tokenizer.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2::testing_support {

inline std::filesystem::path Goldens() { return LFM2_GOLDENS_DIR; }

inline std::vector<Json> JsonLines(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::vector<Json> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(*ParseJson(line));
  return lines;
}

inline std::shared_ptr<const Tokenizer> Load(const std::filesystem::path& path) {
  absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer = LoadTokenizer(path);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

inline Json TinyJson() {
  std::ifstream in(Goldens() / "lfm2-tiny" / "tokenizer.json");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  return *ParseJson(text);
}

inline std::shared_ptr<const Tokenizer> FromJson(const Json& json,
                                                 const TokenizerConfig& config = {}) {
  auto tokenizer = MakeBpeTokenizer(json.dump(), config);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *tokenizer : nullptr;
}

// A BPE over the letters of `vocab`, one piece a text, tokens joined without a gap.
inline Json PlainBpe(const Json& vocab, const Json& merges) {
  return Json{{"version", "1.0"},
              {"added_tokens", Json::array()},
              {"normalizer", nullptr},
              {"pre_tokenizer", nullptr},
              {"post_processor", nullptr},
              {"decoder", Json{{"type", "Fuse"}}},
              {"model", Json{{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}};
}

inline std::vector<int32_t> Ids(const Tokenizer& tokenizer, std::string_view text,
                                EncodeOptions options = {}) {
  absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(text, options);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<int32_t>{};
}

inline std::string RefusalOf(const Json& json) {
  const auto tokenizer = MakeBpeTokenizer(json.dump(), {});
  if (tokenizer.ok()) return "(accepted)";
  EXPECT_EQ(DetailsOf(tokenizer.status()).reason, Reason::kTokenizerInvalid);
  return std::string(tokenizer.status().message());
}

inline std::filesystem::path FreshFolder(const std::string& name) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("lfm2_tokenizer_" + name);
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace lfm2::testing_support
