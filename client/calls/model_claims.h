// Flags that repeat properties of a stored model. They are accepted when equal to the model's;
// otherwise the error names both values. Thread rule: one thread.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"
#include "client/calls/session.h"

namespace lfm2 {

struct ModelClaims {
  v1::ModelShape shape;
  std::string tokenizer;  // as given; empty: not given

  bool empty() const { return tokenizer.empty() && shape.ByteSizeLong() == 0; }
};

// --tokenizer, --hf_tokenizer and every flag of ModelShape.
void AddClaimFlags(CLI::App& app, ModelClaims& claims);

// Asks the server for the model if any claim was given. kFlagContradictsModel with all
// contradictions.
absl::Status CheckClaims(Session& session, const v1::ModelRef& model, const ModelClaims& claims);

// The same for a shape and a model's config.json; pure.
absl::Status CheckShape(const v1::ModelShape& shape, const v1::Model& model);

}  // namespace lfm2
