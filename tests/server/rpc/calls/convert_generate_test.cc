#include "server/rpc/calls/convert_generate.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/server/rpc/calls/bad_generate.h"

namespace lfm2 {
namespace {

using ConvertGenerateTest = BadGenerateTest;

TEST_F(ConvertGenerateTest, DrawsAnotherSeedForEachCallAndKeepsAGivenOne) {
  Start();
  v1::GenerateRequest request = Ask("x", 1);
  const auto seed = [&] { return Generate(request).events.front().start().sampling().seed(); };
  EXPECT_NE(seed(), seed());
  request.mutable_sampling()->set_seed(0);
  EXPECT_EQ(seed(), 0U);
}

TEST_F(ConvertGenerateTest, DefaultsToTheRestOfTheContextAtMost256) {
  StepTakes(1);  // the reader must keep up
  Start();
  v1::GenerateRequest request = Ask("x");
  request.clear_max_new_tokens();
  request.set_ignore_eos(true);
  EXPECT_EQ(Generate(request).tokens, 256);
  request.set_text(std::string(4000, 'x'));
  EXPECT_EQ(Generate(request).tokens, 4096 - 4001);
}

TEST_F(ConvertGenerateTest, NamesEveryFieldThatIsWrong) {
  Start();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  using Request = v1::GenerateRequest;
  const BadGenerate cases[] = {
      {"prompt and new tokens",
       [](Request& r) { r.set_max_new_tokens(4096 - 1); },
       "CONTEXT_EXCEEDED",
       {"max_new_tokens"}},
      {"max_new_tokens 0",
       [](Request& r) { r.set_max_new_tokens(0); },
       "INVALID_ARGUMENT",
       {"max_new_tokens"}},
      {"max_new_tokens huge",
       [](Request& r) { r.set_max_new_tokens(INT64_MAX); },
       "INVALID_ARGUMENT",
       {"max_new_tokens"}},
      {"temperature NaN",
       [=](Request& r) { r.mutable_sampling()->set_temperature(nan); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"temperature negative",
       [](Request& r) { r.mutable_sampling()->set_temperature(-0.1); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"temperature infinite",
       [=](Request& r) { r.mutable_sampling()->set_temperature(infinity); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"temperature 100.1",
       [](Request& r) { r.mutable_sampling()->set_temperature(100.1); },
       "INVALID_ARGUMENT",
       {"sampling.temperature"}},
      {"top_k negative",
       [](Request& r) { r.mutable_sampling()->set_top_k(-1); },
       "INVALID_ARGUMENT",
       {"sampling.top_k"}},
      {"top_k huge",
       [](Request& r) { r.mutable_sampling()->set_top_k(int64_t{1} << 31); },
       "INVALID_ARGUMENT",
       {"sampling.top_k"}},
      {"top_p 0",
       [](Request& r) { r.mutable_sampling()->set_top_p(0); },
       "INVALID_ARGUMENT",
       {"sampling.top_p"}},
      {"top_p over 1",
       [](Request& r) { r.mutable_sampling()->set_top_p(1.01); },
       "INVALID_ARGUMENT",
       {"sampling.top_p"}},
      {"min_p over 1",
       [](Request& r) { r.mutable_sampling()->set_min_p(1.01); },
       "INVALID_ARGUMENT",
       {"sampling.min_p"}},
      {"penalty 0",
       [](Request& r) { r.mutable_sampling()->set_repetition_penalty(0); },
       "INVALID_ARGUMENT",
       {"sampling.repetition_penalty"}},
      {"presence_penalty 2.1",
       [](Request& r) { r.mutable_sampling()->set_presence_penalty(2.1); },
       "INVALID_ARGUMENT",
       {"sampling.presence_penalty"}},
      {"frequency_penalty NaN",
       [](Request& r) { r.mutable_sampling()->set_frequency_penalty(std::nan("")); },
       "INVALID_ARGUMENT",
       {"sampling.frequency_penalty"}},
      {"a bias of 101",
       [](Request& r) { (*r.mutable_sampling()->mutable_logit_bias())[3] = 101; },
       "INVALID_ARGUMENT",
       {"sampling.logit_bias[3]"}},
      {"301 biases",
       [](Request& r) {
         for (int32_t i = 0; i < 301; ++i) (*r.mutable_sampling()->mutable_logit_bias())[i] = 1;
       },
       "INVALID_ARGUMENT",
       {"sampling.logit_bias"}},
      {"logprobs 21", [](Request& r) { r.set_logprobs(21); }, "INVALID_ARGUMENT", {"logprobs"}},
      {"logprobs -1", [](Request& r) { r.set_logprobs(-1); }, "INVALID_ARGUMENT", {"logprobs"}},
      {"17 stops",
       [](Request& r) {
         for (int i = 0; i < 17; ++i) r.add_stop("s");
       },
       "INVALID_ARGUMENT",
       {"stop"}},
      {"empty stop", [](Request& r) { r.add_stop(""); }, "INVALID_ARGUMENT", {"stop[0]"}},
      {"stop of 257",
       [](Request& r) { r.add_stop(std::string(257, 's')); },
       "INVALID_ARGUMENT",
       {"stop[0]"}},
      {"65 stop ids",
       [](Request& r) {
         for (int i = 0; i < 65; ++i) r.add_stop_ids(1);
       },
       "INVALID_ARGUMENT",
       {"stop_ids"}},
      {"stop id past",
       [](Request& r) { r.add_stop_ids(259); },
       "INVALID_ARGUMENT",
       {"stop_ids[0]"}},
      {"request id of 129",
       [](Request& r) { r.set_request_id(std::string(129, 'r')); },
       "INVALID_ARGUMENT",
       {"request_id"}},
      {"request id with a newline",
       [](Request& r) { r.set_request_id("a\nb"); },
       "INVALID_ARGUMENT",
       {"request_id"}},
      {"several at once",
       [=](Request& r) {
         r.mutable_sampling()->set_temperature(nan);
         r.mutable_sampling()->set_top_p(2);
         r.add_stop("");
       },
       "INVALID_ARGUMENT",
       {"sampling.temperature", "sampling.top_p", "stop[0]"}},
  };
  ExpectRefused(cases);
}

TEST_F(ConvertGenerateTest, TakesEveryValueAtItsLimit) {
  Start();
  v1::GenerateRequest request = Ask(std::string(4093, 'x'), 2);
  request.mutable_sampling()->set_temperature(100);
  request.mutable_sampling()->set_top_k(INT32_MAX);
  request.mutable_sampling()->set_min_p(1);
  request.mutable_sampling()->set_repetition_penalty(100);
  request.set_logprobs(20);
  for (int i = 0; i < 16; ++i) request.add_stop(std::string(256, static_cast<char>('A' + i)));
  for (int i = 0; i < 64; ++i) request.add_stop_ids(258);
  request.set_request_id(std::string(128, 'r'));
  const Answer answer = Generate(request);
  EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens, 2);
}

TEST_F(ConvertGenerateTest, NamesAModelThatIsNotThere) {
  Start();
  v1::GenerateRequest request = Ask("x");
  request.mutable_model()->set_name("absent");
  const grpc::Status status = Generate(request).status;
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(status), "MODEL_NOT_FOUND");
  EXPECT_EQ(DetailsOfWire(status).resource_name, "absent");
}

TEST_F(ConvertGenerateTest, RefusesPathsForModels) {
  Start();
  for (const char* name : {"../fake", "/etc/passwd", "fake/../fake", "..%2ffake", "hf:../x"}) {
    v1::GenerateRequest request = Ask("x");
    request.mutable_model()->set_name(name);
    EXPECT_EQ(ReasonOf(Generate(request).status), "PATH_OUTSIDE_ROOT") << name;
  }
}

}  // namespace
}  // namespace lfm2
