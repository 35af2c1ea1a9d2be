#include "model/arch/registry.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace lfm2 {
namespace {

// A config of the architecture with a layer of each kind that it has.
ModelConfig SmallOf(const ArchSpec& spec, bool parallel) {
  ModelConfig config;
  config.architecture = spec.id;
  config.qk_norm = spec.qk_norm;
  config.conv_bias = spec.has_conv;
  config.parallel_residual = parallel;
  config.tie_word_embeddings = false;
  config.attention_layers = {!spec.chooses_attention, true};
  return config;
}

TEST(Registry, StandsInTheOrderOfTheNumbers) {
  int number = 0;
  for (const ArchSpec* spec : AllArchitectures()) {
    EXPECT_EQ(static_cast<int>(spec->id), number++);
    EXPECT_EQ(&SpecOf(spec->id), spec);
  }
  const auto by_mark = ArchitecturesByMark();
  EXPECT_EQ(std::set(by_mark.begin(), by_mark.end()).size(), AllArchitectures().size());
}

TEST(Registry, EveryTableNamesEachRoleOnceAndEachNameOnce) {
  for (const ArchSpec* spec : AllArchitectures()) {
    std::set<Role> roles;
    std::set<std::string_view> ours, gguf;
    for (const TensorName& row : spec->tensors) {
      EXPECT_TRUE(roles.insert(row.role).second) << spec->name << " " << row.ours;
      EXPECT_TRUE(ours.insert(row.ours).second) << spec->name << " " << row.ours;
      EXPECT_TRUE(gguf.insert(row.gguf).second) << spec->name << " " << row.gguf;
      if (!row.old_gguf.empty()) {
        EXPECT_TRUE(gguf.insert(row.old_gguf).second) << spec->name << " " << row.old_gguf;
      }
    }
    EXPECT_TRUE(roles.count(spec->mark)) << spec->name;
  }
}

TEST(Registry, EveryTensorOfAModelHasANameThatIsFoundAgain) {
  for (const ArchSpec* spec : AllArchitectures()) {
    for (const bool parallel : {false, spec->has_parallel}) {
      const ModelConfig config = SmallOf(*spec, parallel);
      for (const TensorSpec& tensor : config.TensorSpecs()) {
        EXPECT_FALSE(tensor.name.empty()) << spec->name;
        EXPECT_EQ(IdOf(config.names(), tensor.name), tensor.id) << tensor.name;
        EXPECT_EQ(IdOfGguf(config.names(), GgufNameOf(config.names(), tensor.id)), tensor.id)
            << tensor.name;
      }
    }
  }
}

// What is initialised and decayed by the role of a name must not depend on whose name it is.
TEST(Registry, ANameHasOneRoleInAllArchitectures) {
  std::map<std::string_view, Role> roles;
  for (const ArchSpec* spec : AllArchitectures()) {
    for (const TensorName& row : spec->tensors) {
      EXPECT_EQ(roles.emplace(row.ours, row.role).first->second, row.role) << row.ours;
    }
  }
}

TEST(Registry, WhatBelongsTogetherIsThereTogether) {
  for (const ArchSpec* spec : AllArchitectures()) {
    EXPECT_EQ(spec->gguf == nullptr, spec->read_gguf == nullptr) << spec->name;
    EXPECT_EQ(spec->attends_word == nullptr, spec->other_word == nullptr) << spec->name;
    EXPECT_NE(spec->eps_key, nullptr) << spec->name;
    if (!spec->chooses_attention) {
      EXPECT_EQ(spec->attn_every, 1) << spec->name;
    }
  }
}

TEST(Registry, ListsNamesAsSentencesNeedThem) {
  EXPECT_EQ(ArchitectureNames(), "lfm2, hybrid or llama");
  EXPECT_EQ(QuotedList(&ArchSpec::gguf, "or"), "\"lfm2\" or \"llama\"");
  EXPECT_EQ(QuotedList(&ArchSpec::model_type, "and"),
            "\"lfm2\", \"lfm2_ssm_hybrid\" and \"llama\"");
}

}  // namespace
}  // namespace lfm2
