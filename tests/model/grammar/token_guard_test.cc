#include "model/grammar/token_guard.h"

#include <functional>

#include "base/utf8.h"
#include "model/tokenizer/bytes.h"
#include "tests/model/grammar/support.h"

namespace lfm2 {
namespace {

TEST(TokenGuard, LetsThroughExactlyTheWellFormedSequencesOfUpToFourBytes) {
  const auto tokenizer = MakeByteTokenizer();
  const TokenGuard guard(*tokenizer, 259);
  int64_t characters = 0;
  const std::function<void(TokenGuard::State, const std::string&)> walk =
      [&](TokenGuard::State state, const std::string& text) {
        TokenMask mask(MaskWords(259), ~uint32_t{0});
        guard.Restrict(state, mask);
        const bool whole = IsAllowed(mask, 258) || text.empty();
        if (whole && !text.empty()) {
          ++characters;
          ASSERT_TRUE(CheckUtf8(text).ok());
          return;
        }
        for (int32_t byte = 0; byte < 256; ++byte) {
          if (IsAllowed(mask, byte)) walk(guard.Next(state, byte), text + static_cast<char>(byte));
        }
      };
  walk(TokenGuard::kBeginning, "");
  EXPECT_EQ(characters, 0x110000 - 0x800);
}

}  // namespace
}  // namespace lfm2
