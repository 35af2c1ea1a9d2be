// InitModel: shows the progress and gives back the report and the model. Thread rule: one thread.
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

// Counts of each fate, then every tensor that was not copied; with `all`, every tensor.
enum class ReportDetail { kNotCopied, kAll };
std::string RenderReport(const v1::ConversionReport& report, ReportDetail detail);

// "generate --init_from": a model made of whatever fits, under a name that its content decides
// ("init-<12 hex>"), so that the second call finds it there. Gives its name.
struct ImpliedInit {
  std::string source;     // as given
  std::string tokenizer;  // as given; empty: the source's
  v1::ModelShape shape;
};
absl::StatusOr<std::string> FindOrInitModel(Session& session, const ImpliedInit& implied);

}  // namespace lfm2
