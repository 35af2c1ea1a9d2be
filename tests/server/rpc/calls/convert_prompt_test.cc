#include "server/rpc/calls/convert_prompt.h"

#include <gtest/gtest.h>

#include "tests/server/rpc/calls/bad_generate.h"

namespace lfm2 {
namespace {

using ConvertPromptTest = BadGenerateTest;

TEST_F(ConvertPromptTest, NamesTheFieldOfAPromptThatIsWrong) {
  Start();
  using Request = v1::GenerateRequest;
  const BadGenerate cases[] = {
      {"no prompt", [](Request& r) { r.clear_prompt(); }, "PROMPT_EMPTY", {"prompt"}},
      {"no ids", [](Request& r) { r.mutable_tokens(); }, "PROMPT_EMPTY", {"tokens.ids"}},
      {"no messages", [](Request& r) { r.mutable_chat(); }, "PROMPT_EMPTY", {"chat.messages"}},
      {"too many tools",
       [](Request& r) {
         r.mutable_chat()->add_messages()->set_role("user");
         for (int i = 0; i < 129; ++i) r.mutable_chat()->add_tools("{}");
       },
       "INVALID_ARGUMENT",
       {"chat.tools"}},
      {"tools over 1 MiB",
       [](Request& r) {
         r.mutable_chat()->add_messages()->set_role("user");
         r.mutable_chat()->add_tools(std::string((1 << 20) + 1, 'x'));
       },
       "PROMPT_TOO_LONG",
       {"chat"}},
      {"empty text without BOS",
       [](Request& r) {
         r.set_text("");
         r.set_add_special(false);
       },
       "PROMPT_EMPTY",
       {"text"}},
      {"text over 1 MiB",
       [](Request& r) { r.set_text(std::string((1 << 20) + 1, 'x')); },
       "PROMPT_TOO_LONG",
       {"text"}},
      {"tokens over the context",
       [](Request& r) { r.set_text(std::string(4096, 'x')); },
       "PROMPT_TOO_LONG",
       {"text"}},
      {"id below",
       [](Request& r) { r.mutable_tokens()->add_ids(-1); },
       "INVALID_ARGUMENT",
       {"tokens.ids[0]"}},
      {"id past",
       [](Request& r) { r.mutable_tokens()->add_ids(259); },
       "INVALID_ARGUMENT",
       {"tokens.ids[0]"}},
  };
  ExpectRefused(cases);
}

TEST_F(ConvertPromptTest, SaysHowLongThePromptIsAndMayBe) {
  Start();
  const grpc::Status status = Generate(Ask(std::string(4096, 'x'))).status;
  const ErrorDetails details = DetailsOfWire(status);
  EXPECT_EQ(details.metadata.at("tokens"), "4097");
  EXPECT_EQ(details.metadata.at("limit"), "4095");
}

TEST_F(ConvertPromptTest, RefusesAnUnknownTemplate) {
  Start();
  v1::GenerateRequest request;
  request.mutable_model()->set_name("fake");
  auto* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("hi");
  EXPECT_EQ(ReasonOf(Generate(request).status), "UNKNOWN_TEMPLATE");
}

}  // namespace
}  // namespace lfm2
