// What is known of a stored model without loading it. Thread rule: any thread but the engine's;
// reads the disk.
#pragma once

#include "absl/status/statusor.h"
#include "lfm2/v1/models.pb.h"
#include "server/rpc/transport/service_core.h"

namespace lfm2 {

// For lists: a model whose config cannot be read is listed with what its manifest says.
v1::Model BriefModelInfo(const ModelVersion& version, ServiceCore& core);
// With config_json, versions and the tokenizer. kConfigInvalid, kTokenizerInvalid.
absl::StatusOr<v1::Model> FullModelInfo(const ModelVersion& version, ServiceCore& core);

}  // namespace lfm2
