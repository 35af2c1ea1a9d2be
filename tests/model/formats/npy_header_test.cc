#include "model/formats/npy_header.h"

#include "tests/base/test_files.h"

namespace lfm2 {
namespace {

std::string Dict(const std::string& descr, const std::string& order, const std::string& shape) {
  return "{'descr': " + descr + ", 'fortran_order': " + order + ", 'shape': " + shape + ", }";
}

TEST(NpyHeader, ReadsShapesOfAnyRank) {
  EXPECT_EQ(ParseNpyDict(Dict("'<f4'", "False", "(2, 3)"))->shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(ParseNpyDict(Dict("'<f4'", "False", "(5,)"))->shape, (std::vector<int64_t>{5}));
  EXPECT_EQ(ParseNpyDict(Dict("'<f4'", "False", "()"))->bytes, 4);
  EXPECT_EQ(ParseNpyDict(Dict("\"|u1\"", "True", "(7,)") + "   \n")->bytes, 7);
}

TEST(NpyHeader, RefusesOtherDicts) {
  for (const std::string& text : {
           std::string(),
           std::string("{"),
           std::string("{}"),
           std::string("[1]"),
           Dict("'<f4'", "False", "(2, 3)").substr(1),
           Dict("'<f4'", "Maybe", "(2,)"),
           Dict("'<f4'", "False", "(-2,)"),
           Dict("'<f4'", "False", "(2"),
           Dict("'<f4'", "False", "(9223372036854775808,)"),
           Dict("'<f4'", "False", "(4611686018427387904,)"),
           Dict("'<f4'", "False", "(4294967296, 4294967296)"),
           Dict("'<c8'", "False", "(2,)"),
           Dict("'<U4'", "False", "(2,)"),
           Dict("'|O'", "False", "(2,)"),
           Dict("[('a', '<f4')]", "False", "(2,)"),
           Dict("'>f4'", "False", "(2,)"),
           Dict("'<f4'", "True", "(2, 2)"),
           Dict("'<f4'", "False", "(2,)") + "x",
           std::string("{'descr': '<f4', 'descr': '<f4', 'shape': (2,), 'fortran_order': False}"),
           std::string("{'descr': '<f4', 'shape': (2,), 'fortran_order': False, 'x': 1}"),
           std::string("{'descr': '<f4"),
           std::string("{'de\\x73cr': '<f4'}"),
       }) {
    EXPECT_REASON("MODEL_FILE_INVALID", ParseNpyDict(text).status());
  }
}

TEST(NpyHeader, KnowsTheThreeVersions) {
  const auto magic = [](char major, char minor) {
    return std::string("\x93NUMPY") + major + minor;
  };
  EXPECT_EQ(*NpyLengthBytes(magic(1, 0)), 2);
  EXPECT_EQ(*NpyLengthBytes(magic(2, 0)), 4);
  EXPECT_EQ(*NpyLengthBytes(magic(3, 0)), 4);
  EXPECT_FALSE(NpyLengthBytes(magic(4, 0)).ok());
  EXPECT_FALSE(NpyLengthBytes(magic(1, 1)).ok());
  EXPECT_FALSE(NpyLengthBytes("NUMPY").ok());
}

TEST(NpyHeader, WritesDataAtAMultipleOf64) {
  for (const std::vector<int64_t>& shape :
       std::vector<std::vector<int64_t>>{{}, {1}, {2, 3}, {1, 2, 3, 4, 5, 6, 7, 8}}) {
    const auto text = NpyHeaderText({"a", DType::kI16, shape, nullptr, 0});
    ASSERT_TRUE(text.ok());
    EXPECT_EQ(text->size() % 64, 0u);
    EXPECT_EQ(ParseNpyDict(text->substr(10))->shape, shape);
  }
}

}  // namespace
}  // namespace lfm2
