#include "server/rpc/transport/request_check.h"

#include <gtest/gtest.h>

namespace lfm2 {
namespace {

TEST(RequestCheck, AFieldThatItsMessageNamesIsNamedOnce) {
  RequestCheck check;
  check.Add("name", Error(Reason::kPathOutsideRoot, "name \"a/b\" has a character"));
  check.Add("json_schema", Error(Reason::kGrammarInvalid, "json_schema is empty"));
  check.Add("name", Error(Reason::kPathOutsideRoot, "names differ"));
  EXPECT_EQ(check.ToStatus().message(),
            "name \"a/b\" has a character; json_schema is empty; name names differ");
}

}  // namespace
}  // namespace lfm2
