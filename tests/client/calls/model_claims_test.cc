#include "client/calls/model_claims.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/client/fake_server.h"

namespace lfm2 {
namespace {

using testing::HasSubstr;

std::string Contradiction(const std::function<void(v1::ModelShape&)>& claim) {
  v1::ModelShape shape;
  claim(shape);
  const absl::Status status = CheckShape(shape, FakeServer::MakeModel("ckpt"));
  if (status.ok()) return "";
  EXPECT_EQ(DetailsOf(status).reason, Reason::kFlagContradictsModel);
  return std::string(status.message());
}

TEST(ModelClaims, EqualValuesAreAccepted) {
  EXPECT_EQ(Contradiction([](v1::ModelShape& shape) {
              shape.set_n_kv_heads(4);
              shape.set_parallel_residual(true);
              shape.set_rope_theta(10000);
              shape.set_attn_every(2);
              shape.set_architecture("hybrid");
              shape.set_norm_eps(1e-5);
            }),
            "");
}

TEST(ModelClaims, EveryContradictionIsNamedWithBothValues) {
  const std::string message = Contradiction([](v1::ModelShape& shape) {
    shape.set_n_kv_heads(2);
    shape.set_parallel_residual(false);
    shape.set_rope_theta(1e6);
  });
  EXPECT_EQ(message,
            "--n_kv_heads is 2, the model has 4; --parallel_residual is false, the model has true; "
            "--rope_theta is 1000000, the model has 10000.0");
}

TEST(ModelClaims, WhatTheModelLacksContradicts) {
  EXPECT_THAT(Contradiction([](v1::ModelShape& shape) { shape.set_conv_kernel(3); }),
              HasSubstr("the model has none"));
}

TEST(ModelClaims, AttentionIsComparedLayerByLayer) {
  v1::Model model = FakeServer::MakeModel("x");
  model.set_config_json(R"({"layer_types":["ssm","attention_ssm","ssm","attention_ssm"]})");
  v1::ModelShape shape;
  shape.set_attn_every(2);
  EXPECT_TRUE(CheckShape(shape, model).ok());
  shape.set_attn_every(0);
  EXPECT_FALSE(CheckShape(shape, model).ok());
}

TEST(ModelClaims, RopeThetaMayBeInsideRopeParameters) {
  v1::Model model = FakeServer::MakeModel("x");
  model.set_config_json(R"({"rope_parameters":{"rope_theta":1000000.0}})");
  v1::ModelShape shape;
  shape.set_rope_theta(1e6);
  EXPECT_TRUE(CheckShape(shape, model).ok());
}

TEST(ModelClaims, ALocalTokenizerIsComparedByHash) {
  const FakeServer server;
  const TempFolder folder;
  folder.Write("same/tokenizer.json", "tokenizer text");
  folder.Write("other/tokenizer.json", "another one");
  EXPECT_EQ(
      RunCtl(server, {"generate", "-m", "ckpt", "-p", "x", "--hf_tokenizer", folder / "same"}).code,
      0);
  const Outcome outcome =
      RunCtl(server, {"generate", "-m", "ckpt", "-p", "x", "--tokenizer", folder / "other"});
  EXPECT_EQ(outcome.code, 5);
  EXPECT_THAT(outcome.err, HasSubstr("FLAG_CONTRADICTS_MODEL"));
}

TEST(ModelClaims, TheByteTokenizerIsComparedByKind) {
  FakeServer server;
  EXPECT_EQ(RunCtl(server, {"generate", "-m", "ckpt", "-p", "x", "--tokenizer", "bytes"}).code, 5);
  server.models["ckpt"].set_tokenizer_kind("bytes");
  EXPECT_EQ(RunCtl(server, {"generate", "-m", "ckpt", "-p", "x", "--tokenizer", "bytes"}).code, 0);
}

TEST(ModelClaims, WithoutClaimsNothingIsAsked) {
  const FakeServer server;
  EXPECT_EQ(RunCtl(server, {"generate", "-m", "ckpt", "-p", "x"}).code, 0);
  EXPECT_TRUE(server.captured.get_model.empty());
}

}  // namespace
}  // namespace lfm2
