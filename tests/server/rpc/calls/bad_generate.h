// Generate requests that break a rule, and what the client is told.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {

struct BadGenerate {
  const char* name;
  std::function<void(v1::GenerateRequest&)> spoil;
  const char* reason;
  std::vector<std::string> fields;
};

class BadGenerateTest : public RpcTest {
 protected:
  // Each is refused with its reason and names its fields; no model has begun anything.
  void ExpectRefused(std::span<const BadGenerate> cases) {
    for (const BadGenerate& bad : cases) {
      v1::GenerateRequest request = Ask("hello", 4);
      bad.spoil(request);
      const grpc::Status status = Generate(request).status;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << bad.name;
      EXPECT_EQ(ReasonOf(status), bad.reason) << bad.name;
      EXPECT_EQ(FieldsOf(status), bad.fields) << bad.name;
    }
    EXPECT_EQ(counters_->states_made, 0);
  }
};

}  // namespace lfm2
