// Any messages: as many markers as the template writes, whatever the texts hold; and normalizing a
// template is final.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "model/tokenizer/chat/chat_template.h"
#include "model/tokenizer/chat/known_templates.h"
#include "tests/fuzz/tiny_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto tokenizer = lfm2::MakeTinyTokenizer();
  static const char* const kRoles[] = {"system", "user", "assistant", "tool"};
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const std::string normalized = lfm2::NormalizeTemplate(rest);
  if (lfm2::NormalizeTemplate(normalized) != normalized) std::abort();
  lfm2::Conversation conversation;
  auto& messages = conversation.messages;
  while (rest.size() >= 2) {
    const size_t length = std::min<size_t>(static_cast<uint8_t>(rest[1]), rest.size() - 2);
    messages.push_back(
        {kRoles[static_cast<uint8_t>(rest[0]) % 4], std::string(rest.substr(2, length))});
    rest.remove_prefix(2 + length);
  }
  const auto ids = lfm2::EncodeChat(*tokenizer, conversation);
  if (!ids.ok()) return 0;
  const bool drops = messages[0].role == "system" && messages[0].content.empty();
  const auto written = static_cast<long>(messages.size()) - (drops ? 1 : 0);
  const auto count = [&](const char* token) {
    return std::count(ids->begin(), ids->end(), *tokenizer->TokenId(token));
  };
  if (count("<|startoftext|>") != 1 || count("<|im_start|>") != written + 1 ||
      count("<|im_end|>") != written)
    std::abort();
  if (*tokenizer->Decode(*ids, false) != *lfm2::RenderChat(*tokenizer, conversation)) std::abort();
  return 0;
}
