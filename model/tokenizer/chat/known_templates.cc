#include "model/tokenizer/chat/known_templates.h"

#include "base/file.h"

namespace lfm2 {
namespace {

struct KnownTemplate {
  std::string_view sha256;  // of the normalized text
  ChatStyle style;
};

// If a template has line breaks in its strings, both forms are listed: as line breaks and as \n.
constexpr KnownTemplate kKnown[] = {
    // LFM2, as published with the models.
    {"f71b0d99539aba87887db394e03b91eb66d222e52f8d974017b9c5705f4e65f3", kLfm2Style},
    // LFM2 with tool calls, as llama.cpp carries it.
    {"914b14ef0543dfdcc39120375372a397262cf0bedd3a2b97ab99f7277ee20442", kLfm2Style},
    // LFM2 with generation marks, as leap-finetune carries it.
    {"ffe28bb37a6104186b7526fce07a523f13e4730e0d0c204e23fa15579b5ffe39", kLfm2Style},
    // LFM2.5, first publication (its file's SHA-256 is f05bf4b967dc...).
    {"1c5aad472f06271b38dc398c58da791d686fc204ec69e7a1df6070099bf27398", kLfm25Style},
    // LFM2.5 with tool calls and generation marks.
    {"01dab010a5ac928b49b4bf1b4d54072ac4cc4db90a71a44476fd74a64f93fb2a", kLfm25Style},
    // LFM2.5, as leap-finetune carries it.
    {"e4ca27e06c870d3d1845b44ec845f75f11f5b9c2bb3dd8bdfd4022c875589b50", kLfm25Style},
    // LFM2.5 with preserve_thinking.
    {"bf4ad0f4aa82e7f410035be003efbf2bdd7109465123ea01d2f75df0d06c1e30", kLfm25PreserveStyle},
    // Plain ChatML after one BOS.
    {"1e998b5cc1e184f393458c46e6c1dc9e01fe60516318598b6cbc05d17592534b", kPlainStyle},
    // Plain ChatML without a BOS, alone and behind a default for add_generation_prompt.
    {"153280e3ff55d19da1398bdb3914ee2a51b80429bfaedde11d7d216c39db80f3", kChatMlStyle},
    {"fcf7a096fe99a48fd9ad2b250bf9237e96e8f48bffec1c7ea4d3f225176cd40e", kChatMlStyle},
    {"58c1a1f04baa7adaeaba1f90267c3d57d9396f0c1f0129bdde9e76d3c6784af7", kChatMlStyle},
    {"d7b5b8c7b58f7a6bf868aa46a5f73ee976d7292f40fcb9c3e7a1defd8d235cfb", kChatMlStyle},
    // SmolLM2 Instruct.
    {"872be49dbb638044ad01b60388f48d469ff2980e5f0dccdc22ec907db54d0788", kSmolLm2Style},
    {"de9cde7d1b0ca0cc87459a6673e0d12fb89c070bdb24e4a30b6e4d187b226221", kSmolLm2Style},
    // Llama 3 Instruct: asking for the generation prompt, and the first publication, which always
    // writes it.
    {"ba03a121d097859c7b5b9cd03af99aafe95275210d2876f642ad9929a150f122", kLlama3Style},
    {"4f46ecd43418f216df8c26936c60e5d04bcc81db47db5d86fbe889f64212dd4c", kLlama3Style},
    {"b48c47f6443892716176eb200bf4ef108f64e06ca26ed0fa8ebc0a4b3992fcb2", kLlama3Style},
    {"b75e17085cfc511ead6d4fab84b86ab3c168ec7a332568a91d0889cdcba94394", kLlama3Style},
    // Llama 3.1 and 3.3 Instruct.
    {"812805e2414689412253258a3f42a7e4ce1d150a5153fa6d5501022ee12549fa", kLlama31Style},
};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

bool OpensWithMinus(std::string_view text) {
  return text.starts_with("{%-") || text.starts_with("{{-") || text.starts_with("{#-");
}

bool ClosesWithMinus(std::string_view text) {
  return text.ends_with("-%}") || text.ends_with("-}}") || text.ends_with("-#}");
}

}  // namespace

std::string NormalizeTemplate(std::string_view jinja) {
  std::string out;
  for (size_t at = 0; at < jinja.size();) {
    if (!IsSpace(jinja[at])) {
      out += jinja[at++];
      continue;
    }
    size_t end = at;
    while (end < jinja.size() && IsSpace(jinja[end])) ++end;
    if (!ClosesWithMinus(out) && !OpensWithMinus(jinja.substr(end)))
      out.append(jinja.substr(at, end - at));
    at = end;
  }
  return out;
}

std::optional<ChatStyle> RecognizeTemplate(std::string_view jinja) {
  const std::string sha256 = Sha256Hex(NormalizeTemplate(jinja));
  for (const KnownTemplate& known : kKnown) {
    if (known.sha256 == sha256) return known.style;
  }
  return std::nullopt;
}

}  // namespace lfm2
