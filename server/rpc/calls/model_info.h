// Describes a stored model without loading it. Thread rule: any thread except the engine's, because
// it reads the disk.
#pragma once

#include "absl/status/statusor.h"
#include "lfm2/v1/models.pb.h"
#include "server/rpc/transport/service_core.h"

namespace lfm2 {

// For lists. A model whose config cannot be read is described by its manifest alone.
v1::Model BriefModelInfo(const ModelVersion& version, ServiceCore& core);
// With config_json, versions and the tokenizer. kConfigInvalid, kTokenizerInvalid.
absl::StatusOr<v1::Model> FullModelInfo(const ModelVersion& version, ServiceCore& core);

}  // namespace lfm2
