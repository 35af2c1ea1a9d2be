// InitModel: shows the progress and returns the report and the model. Thread rule: one thread.
#pragma once

#include "absl/status/statusor.h"
#include "client/calls/session.h"

namespace lfm2 {

struct InitResult {
  std::string job_id;
  v1::ConversionReport report;
  v1::Model model;
};

absl::StatusOr<InitResult> InitModel(Session& session, const v1::InitModelRequest& request);

// Prints how many tensors had each fate, then every tensor that was not copied; with `all`, every
// tensor.
enum class ReportDetail { kNotCopied, kAll };
std::string RenderReport(const v1::ConversionReport& report, ReportDetail detail);

// "generate --init_from": creates a model from all that fits and returns its name. The name depends
// on the content ("init-<12 hex>"), so that a second call finds the model.
struct ImpliedInit {
  std::string source;     // as given
  std::string tokenizer;  // as given; empty: the source's
  v1::ModelShape shape;
};
absl::StatusOr<std::string> FindOrInitModel(Session& session, const ImpliedInit& implied);

}  // namespace lfm2
