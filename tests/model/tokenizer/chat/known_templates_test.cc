#include "model/tokenizer/chat/known_templates.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

constexpr char kPlain[] =
    R"({{- bos_token -}}{%- for message in messages -%}{{- "<|im_start|>" + message["role"] + "\n" + message["content"] + )"
    R"("<|im_end|>\n" -}}{%- endfor -%}{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\n" -}}{%- endif -%})";

std::string Indented(std::string text) {
  for (size_t at = text.find("-}}{"); at != std::string::npos; at = text.find("-}}{", at + 1))
    text.insert(at + 3, "\n\t  ");
  for (size_t at = text.find("-%}{"); at != std::string::npos; at = text.find("-%}{", at + 1))
    text.insert(at + 3, "\r\n");
  return text + "\n";
}

TEST(KnownTemplates, RecognizesOneWhateverItsIndentation) {
  EXPECT_TRUE(RecognizeTemplate(kPlain).has_value());
  EXPECT_NE(Indented(kPlain), kPlain);
  EXPECT_TRUE(RecognizeTemplate(Indented(kPlain)).has_value());
}

TEST(KnownTemplates, DoesNotRecognizeOneThatDiffersInAnythingElse) {
  std::string other = kPlain;
  other.replace(other.find("<|im_end|>\\n"), 12, "<|im_end|>");
  EXPECT_FALSE(RecognizeTemplate(other).has_value());
  EXPECT_FALSE(RecognizeTemplate(std::string(kPlain) + "x").has_value());
  EXPECT_FALSE(RecognizeTemplate("").has_value());
}

TEST(KnownTemplates, KeepsWhiteSpaceThatJinjaKeeps) {
  EXPECT_EQ(NormalizeTemplate("{{ a }} \n {{ b }}"), "{{ a }} \n {{ b }}");
  EXPECT_EQ(NormalizeTemplate("{{- a -}} \n {{ b }}"), "{{- a -}}{{ b }}");
  EXPECT_EQ(NormalizeTemplate("x  {%- if y %} z"), "x{%- if y %} z");
}

}  // namespace
}  // namespace lfm2
