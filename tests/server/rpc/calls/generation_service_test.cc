#include <gtest/gtest.h>

#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {
namespace {

using GenerationServiceTest = RpcTest;

TEST_F(GenerationServiceTest, TokenizesAndDetokenizesWithoutLoadingTheModel) {
  Start();
  v1::TokenizeRequest request;
  request.mutable_model()->set_name("fake");
  request.set_text("hé");
  request.set_add_special(false);
  v1::TokenizeResponse ids;
  grpc::ClientContext first;
  const grpc::Status status = generation_->Tokenize(&first, request, &ids);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(std::vector<int32_t>(ids.ids().begin(), ids.ids().end()),
            (std::vector<int32_t>{'h', 0xC3, 0xA9}));
  EXPECT_EQ(ids.tokenizer_sha256().size(), 64U);
  v1::DetokenizeRequest back;
  back.mutable_model()->set_name("fake");
  *back.mutable_ids() = ids.ids();
  v1::DetokenizeResponse text;
  grpc::ClientContext second;
  ASSERT_TRUE(generation_->Detokenize(&second, back, &text).ok());
  EXPECT_EQ(text.text(), "hé");
  EXPECT_EQ(pool_->Find("fake", "v1"), nullptr);
}

TEST_F(GenerationServiceTest, RefusesToDetokenizeAnIdOutOfRange) {
  Start();
  v1::DetokenizeRequest request;
  request.mutable_model()->set_name("fake");
  request.add_ids(259);
  v1::DetokenizeResponse response;
  grpc::ClientContext context;
  const grpc::Status status = generation_->Detokenize(&context, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(GenerationServiceTest, ScoresTokensAndText) {
  Start();
  v1::ScoreRequest request;
  request.mutable_model()->set_name("fake");
  for (const int id : {4, 5, 6}) request.mutable_tokens()->add_ids(id);
  v1::ScoreResponse response;
  grpc::ClientContext context;
  const grpc::Status status = generation_->Score(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.ids_size(), 3);
  EXPECT_EQ(std::vector<float>(response.logprobs().begin(), response.logprobs().end()),
            (std::vector<float>{-2, -1}));
  EXPECT_EQ(response.version(), "v1");
}

TEST_F(GenerationServiceTest, RefusesToScoreLessThanTwoTokens) {
  Start();
  v1::ScoreRequest request;
  request.mutable_model()->set_name("fake");
  request.mutable_tokens()->add_ids(1);
  v1::ScoreResponse response;
  grpc::ClientContext context;
  const grpc::Status status = generation_->Score(&context, request, &response);
  EXPECT_EQ(ReasonOf(status), "INVALID_ARGUMENT");
  EXPECT_EQ(FieldsOf(status), std::vector<std::string>{"tokens.ids"});
}

TEST_F(GenerationServiceTest, SaysWhichStringIsNotUtf8AndWhere) {
  Start();
  // GenerateRequest { chat { messages { role: "user" content: "a\xff" } } }
  const std::string message = std::string("\x0a\x04user\x12\x02") + "a\xff";
  const std::string messages = "\x0a" + std::string(1, static_cast<char>(message.size())) + message;
  const std::string bytes = "\x2a" + std::string(1, static_cast<char>(messages.size())) + messages;
  grpc::ClientContext context;
  const grpc::Status status = CallRaw(channel_, "/lfm2.v1.Generation/Generate", bytes, context);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "INVALID_UTF8");
  EXPECT_EQ(FieldsOf(status), std::vector<std::string>{"chat.messages.content"});
  EXPECT_EQ(DetailsOfWire(status).metadata.at("offset"), "1");
}

TEST_F(GenerationServiceTest, RefusesBytesThatAreNoMessage) {
  Start();
  grpc::ClientContext context;
  const grpc::Status status = CallRaw(channel_, "/lfm2.v1.Generation/Tokenize",
                                      std::string("\x12\xff\xff\xff", 4), context);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "INVALID_ARGUMENT");
}

TEST_F(GenerationServiceTest, AnswersResourceExhaustedToAMessageOverTheLimit) {
  Start();
  v1::GenerateRequest request = Ask(std::string((4 << 20) + 1, 'x'));
  EXPECT_EQ(Generate(request).status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(GenerationServiceTest, ReturnsARequestIdWithEveryAnswer) {
  Start();
  v1::TokenizeRequest request;
  request.mutable_model()->set_name("absent");
  request.set_text("x");
  v1::TokenizeResponse response;
  grpc::ClientContext context;
  context.AddMetadata("x-request-id", "from-metadata");
  const grpc::Status status = generation_->Tokenize(&context, request, &response);
  EXPECT_EQ(DetailsOfWire(status).metadata["request_id"], "from-metadata");
  grpc::ClientContext unnamed;
  (void)generation_->Tokenize(&unnamed, request, &response);
  const auto& initial = unnamed.GetServerInitialMetadata();
  ASSERT_EQ(initial.count("x-request-id"), 1U);
  EXPECT_EQ(initial.find("x-request-id")->second.size(), 36U);
}

}  // namespace
}  // namespace lfm2
