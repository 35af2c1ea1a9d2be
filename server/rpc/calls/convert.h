// Parts that the requests of all services share: names, references, sources, pages. Check functions
// only collect violations; Resolve functions read the stores, so they run on the executor. Thread
// rule: pure functions, except for reading the stores.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "lfm2/v1/common.pb.h"
#include "server/rpc/transport/request_check.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {

void CheckRequestId(const std::string& request_id, const Limits& limits, RequestCheck& check);
void CheckModelRef(const v1::ModelRef& model, const Limits& limits, RequestCheck& check);
// The name of a model, dataset or file that a client may create.
void CheckName(std::string_view field, const std::string& name, const Limits& limits,
               RequestCheck& check);
// "sha256:<64 hex digits>".
void CheckDatasetId(std::string_view field, const std::string& id, RequestCheck& check);

enum class ByteTokenizer { kRefused, kAllowed };
void CheckSource(std::string_view field, const v1::Source& source, ByteTokenizer bytes,
                 const Limits& limits, RequestCheck& check);
// A version of a stored model, which never changes.
SourceSpec FolderSource(const ModelVersion& version);
// Resolves names to versions now, so that a job does not depend on what a name means later.
absl::StatusOr<SourceSpec> ResolveSource(const v1::Source& source, const ServiceContext& services);

// The model that the request names, else the server's default, else the newest model, ignoring
// those that --init_from created for one caller.
absl::StatusOr<std::string> ModelReference(const v1::ModelRef& model,
                                           const ServiceContext& services);

// 1 to 1000; 100 when unset.
int CheckPageSize(bool set, int64_t value, RequestCheck& check);

// kJobStoreCorrupt when the job store could not be opened.
absl::StatusOr<JobQueue*> JobsOf(const ServiceContext& services);

}  // namespace lfm2
