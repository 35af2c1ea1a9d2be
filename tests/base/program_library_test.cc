#include "base/program_library.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/errors.h"
#include "base/program_folder.h"

namespace lfm2 {
namespace {

constexpr char kVariable[] = "LFM2_TEST_LIBRARY";

TEST(ProgramLibrary, IsLookedForBesideTheProgram) {
  const auto library = OpenProgramLibrary("liblfm2_nothing.so", kVariable);
  EXPECT_EQ(DetailsOf(library.status()).reason, Reason::kUnsupported);
  EXPECT_EQ(library.status().message().find("liblfm2_nothing.so cannot be opened: "), 0U);
  const std::string place = (ProgramFolder() / "liblfm2_nothing.so").string();
  EXPECT_NE(library.status().message().find(place), std::string::npos) << library.status();
  EXPECT_NE(library.status().message().find("No such file"), std::string::npos);
}

TEST(ProgramLibrary, TheVariableNamesAnother) {
  setenv(kVariable, "libm.so.6", 1);
  const auto library = OpenProgramLibrary("liblfm2_nothing.so", kVariable);
  unsetenv(kVariable);
  ASSERT_TRUE(library.ok()) << library.status();
  double (*cosine)(double) = nullptr;
  ASSERT_TRUE(FindFunction(*library, "cos", cosine));
  EXPECT_EQ(cosine(0), 1);
  EXPECT_FALSE(FindFunction(*library, "lfm2_no_such_function", cosine));
  EXPECT_EQ(cosine, nullptr);
}

TEST(ProgramLibrary, IsCalledByItsNameWhereTheVariableNamesNothing) {
  setenv(kVariable, "/nowhere/x.so", 1);
  const auto library = OpenProgramLibrary("liblfm2_nothing.so", kVariable);
  unsetenv(kVariable);
  const std::string message(library.status().message());
  EXPECT_NE(message.find("liblfm2_nothing.so"), std::string::npos) << message;
  EXPECT_NE(message.find("/nowhere/x.so"), std::string::npos) << message;
}

TEST(ProgramLibrary, AFileThatIsNoLibraryIsRefused) {
  const auto library = OpenLibrary("/proc/self/status");
  EXPECT_EQ(DetailsOf(library.status()).reason, Reason::kUnsupported);
  EXPECT_NE(library.status().message().find("/proc/self/status"), std::string::npos)
      << library.status();
}

}  // namespace
}  // namespace lfm2
