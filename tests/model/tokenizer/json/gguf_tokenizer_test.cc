#include "model/tokenizer/json/gguf_tokenizer.h"

#include <fstream>

#include "base/file.h"
#include "model/tokenizer/load_tokenizer.h"
#include "tests/model/tokenizer/support.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;
using testing_support::FreshFolder;
using testing_support::Goldens;
using testing_support::Ids;
using testing_support::Load;

constexpr const char* kTexts[] = {"",
                                  " ",
                                  "Hello, world!",
                                  "  two  spaces\n\n\tx",
                                  "It's 2026, isn't it? 3.14159 = pi",
                                  "na\u00efve \u65e5\u672c\u8a9e \U0001F600",
                                  "writer.add_token_list([token for token])",
                                  "<|im_start|>user\nhi<|im_end|>\n",
                                  "x\u0301 \u00bd\u0663"};

GgufFile Golden() { return *ReadGguf(Goldens() / "formats" / "llama-tiny.gguf"); }

std::string RefusalOf(const GgufFile& file) {
  const auto files = TokenizerFilesFromGguf(file);
  if (!files.ok()) {
    EXPECT_EQ(DetailsOf(files.status()).reason, Reason::kTokenizerInvalid);
    return std::string(files.status().message());
  }
  const auto tokenizer = MakeBpeTokenizer(files->tokenizer_json, {});
  return tokenizer.ok() ? "(accepted)" : std::string(tokenizer.status().message());
}

std::string RefusalWith(const char* key, const Json& value) {
  GgufFile file = Golden();
  file.metadata[key] = value;
  return RefusalOf(file);
}

bool Says(const std::string& message, std::string_view words) {
  return message.find(words) != std::string::npos;
}

TEST(GgufTokenizer, GivesTheIdsOfTheTokenizerJsonThatItWasMadeOf) {
  const auto ours = Load(Goldens() / "formats" / "llama-tiny.gguf");
  const auto original = Load(Goldens() / "llama-tiny");
  ASSERT_NE(ours, nullptr);
  EXPECT_EQ(ours->vocab_size(), original->vocab_size());
  EXPECT_EQ(ours->bos(), original->bos());
  EXPECT_EQ(ours->eos(), original->eos());
  EXPECT_EQ(ours->pad(), original->pad());
  EXPECT_EQ(ours->chat_template(), original->chat_template());
  for (const char* text : kTexts) {
    for (const bool parse : {false, true}) {
      const EncodeOptions options = {.add_special = true, .parse_special = parse};
      EXPECT_EQ(Ids(*ours, text, options), Ids(*original, text, options)) << text;
    }
    EXPECT_EQ(*ours->Decode(Ids(*ours, text), false), text);
  }
}

TEST(GgufTokenizer, IsCopiedAsTheFilesOfAFolder) {
  const fs::path gguf = Goldens() / "formats" / "llama-tiny.gguf";
  const fs::path folder = FreshFolder("gguf_copy");
  ASSERT_TRUE(CopyTokenizerFiles(gguf, folder).ok());
  const auto copy = Load(folder);
  EXPECT_EQ(copy->sha256(), Load(gguf)->sha256());
  EXPECT_EQ(copy->sha256(), *Sha256OfFile(folder / "tokenizer.json"));
  EXPECT_EQ(copy->chat_template(), Load(gguf)->chat_template());
  EXPECT_EQ(copy->eos(), Load(gguf)->eos());
}

// The pieces of a text that has no merges show where the pre-tokenizer cuts: with every text of two
// characters in the vocabulary and every pair a merge, only a cut keeps two characters apart.
TEST(GgufTokenizer, EachNameHasItsPreTokenizer) {
  const std::pair<const char*, bool> cases[] = {
      {"gpt-2", true}, {"smollm", false}, {"llama-bpe", true}, {"lfm2", true}, {"qwen2", false}};
  for (const auto& [pre, digits_stay] : cases) {
    GgufFile file;
    file.metadata = {{"tokenizer.ggml.model", "gpt2"},
                     {"tokenizer.ggml.pre", pre},
                     {"tokenizer.ggml.tokens", {"<s>", "1", "2", "12"}},
                     {"tokenizer.ggml.token_type", {3, 1, 1, 1}},
                     {"tokenizer.ggml.merges", {"1 2"}},
                     {"tokenizer.ggml.bos_token_id", 0u}};
    const auto files = TokenizerFilesFromGguf(file);
    ASSERT_TRUE(files.ok()) << files.status();
    const auto tokenizer = MakeBpeTokenizer(files->tokenizer_json, {});
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const EncodeOptions plain = {.add_special = false, .parse_special = false};
    EXPECT_EQ(Ids(**tokenizer, "12", plain),
              digits_stay ? std::vector<int32_t>{3} : (std::vector<int32_t>{1, 2}))
        << pre;
    const std::string_view name = pre;
    const bool adds_bos = name == "llama-bpe" || name == "lfm2";
    EXPECT_EQ(Ids(**tokenizer, "1"),
              adds_bos ? (std::vector<int32_t>{0, 1}) : std::vector<int32_t>{1})
        << pre;
  }
}

TEST(GgufTokenizer, TheFileSaysWhetherSpecialsAreAdded) {
  GgufFile file = Golden();
  file.metadata["tokenizer.ggml.add_bos_token"] = true;
  file.metadata["tokenizer.ggml.add_eos_token"] = true;
  const auto tokenizer = MakeBpeTokenizer(TokenizerFilesFromGguf(file)->tokenizer_json, {});
  const std::vector<int32_t> ids = Ids(**tokenizer, "a");
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids.back(), 2);
  EXPECT_EQ(ids.size(), 3u);
}

TEST(GgufTokenizer, RefusesWhatItDoesNotKnowByName) {
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.model", "llama"), "is \"llama\"; only \"gpt2\""));
  EXPECT_TRUE(
      Says(RefusalWith("tokenizer.ggml.pre", "tekken"), "is \"tekken\"; these are known: gpt-2"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.pre", 3), "not a string"));
}

TEST(GgufTokenizer, RefusesListsThatDoNotFit) {
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.tokens", "x"), "not a list"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.tokens", {"a", 1}), "entry 1"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.tokens", {"a", "\xff"}), "entry 1"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.token_type", {1}), "one entry for each of 300"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.merges", {"a"}), "must be two tokens"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.bos_token_id", 300u), "is not an id below 300"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.bos_token_id", "1"), "is not an id below 300"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.ggml.add_bos_token", 1), "neither true nor false"));
  EXPECT_TRUE(Says(RefusalWith("tokenizer.chat_template", "\xff"), "UTF-8"));
  GgufFile file = Golden();
  file.metadata["tokenizer.ggml.token_type"][5] = 7;
  EXPECT_TRUE(Says(RefusalOf(file), "entry 5 is not one of 1 to 6"));
  file = Golden();
  file.metadata["tokenizer.ggml.tokens"][5] = file.metadata["tokenizer.ggml.tokens"][6];
  EXPECT_NE(RefusalOf(file), "(accepted)");
  file = Golden();
  file.metadata.erase("tokenizer.ggml.bos_token_id");
  file.metadata["tokenizer.ggml.add_bos_token"] = true;
  EXPECT_TRUE(Says(RefusalOf(file), "must be added to every text"));
}

}  // namespace
}  // namespace lfm2
