#include "server/rpc/calls/convert.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "server/rpc/transport/rpc_call.h"
#include "server/rpc/transport/service_context.h"

namespace lfm2 {
namespace {

constexpr int kDefaultPage = 100;
constexpr int kMaxPage = 1000;
constexpr int64_t kMaxFiles = 64;

// "hf:" + organisation + '/' + name + '@' + version.
int64_t ReferenceBytes(const Limits& limits) { return 3 * limits.name_bytes + 5; }

void CheckReference(std::string_view field, const std::string& name, const Limits& limits,
                    RequestCheck& check) {
  if (static_cast<int64_t>(name.size()) > ReferenceBytes(limits)) {
    check.Add(field, absl::StrCat("has ", name.size(), " bytes, limit ", ReferenceBytes(limits)));
  }
}

void CheckFiles(const std::string& field, const v1::FileSet& set, const Limits& limits,
                RequestCheck& check) {
  if (set.files().empty()) check.Add(field, "is empty");
  check.Count(field, set.files_size(), kMaxFiles);
  std::set<std::string> names;
  for (int i = 0; i < std::min<int>(set.files_size(), kMaxFiles); ++i) {
    const v1::NamedDataset& file = set.files(i);
    const std::string item = absl::StrCat(field, "[", i, "]");
    CheckName(item + ".name", file.name(), limits, check);
    CheckDatasetId(item + ".dataset", file.dataset(), check);
    if (!names.insert(file.name()).second) {
      check.Add(item + ".name", "is \"" + file.name() + "\", which an earlier file has");
    }
  }
}

absl::StatusOr<SourceSpec> ResolveFolder(const std::string& reference,
                                         const ServiceContext& services) {
  LFM2_ASSIGN_OR_RETURN(const ModelVersion version, services.model_store.Resolve(reference));
  return FolderSource(version);
}

absl::StatusOr<SourceSpec> ResolveFiles(const v1::FileSet& set, const ServiceContext& services) {
  SourceSpec spec;
  spec.kind = SourceSpec::Kind::kFiles;
  for (const v1::NamedDataset& file : set.files()) {
    LFM2_RETURN_IF_ERROR(services.datasets.Get(file.dataset()).status());
    spec.files.push_back({file.name(), file.dataset()});
    spec.name += (spec.name.empty() ? "" : ", ") + file.name();
  }
  return spec;
}

// Whether `generate --init_from` created the model for one caller (client/calls/init_model.cc): its
// name is "init-" and 12 digits of its content's SHA-256. It must not become anyone's default.
bool IsOneCallersInit(std::string_view name) {
  constexpr std::string_view kPrefix = "init-";
  constexpr size_t kDigits = 12;
  return name.size() == kPrefix.size() + kDigits && name.substr(0, kPrefix.size()) == kPrefix &&
         name.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

}  // namespace

void CheckRequestId(const std::string& request_id, const Limits& limits, RequestCheck& check) {
  if (request_id.empty() || IsRequestId(request_id, limits.request_id_bytes)) return;
  if (static_cast<int64_t>(request_id.size()) > limits.request_id_bytes) {
    check.Add("request_id",
              absl::StrCat("has ", request_id.size(), " bytes, limit ", limits.request_id_bytes));
  } else {
    check.Add("request_id", "is not printable ASCII without spaces");
  }
}

void CheckModelRef(const v1::ModelRef& model, const Limits& limits, RequestCheck& check) {
  CheckReference("model.name", model.name(), limits, check);
}

void CheckName(std::string_view field, const std::string& name, const Limits& limits,
               RequestCheck& check) {
  if (name.empty()) return check.Add(field, "is empty");
  if (static_cast<int64_t>(name.size()) > limits.name_bytes) {
    return check.Add(field, absl::StrCat("has ", name.size(), " bytes, limit ", limits.name_bytes));
  }
  check.Add(field, CheckPlainName(field, name, limits.name_bytes));
}

void CheckDatasetId(std::string_view field, const std::string& id, RequestCheck& check) {
  if (!DatasetHashOf(id)) {
    check.Add(field, "is not \"sha256:\" and 64 hexadecimal digits");
  }
}

void CheckSource(std::string_view field, const v1::Source& source, ByteTokenizer bytes,
                 const Limits& limits, RequestCheck& check) {
  const std::string name(field);
  switch (source.kind_case()) {
    case v1::Source::kModel:
      if (source.model().empty()) check.Add(name + ".model", "is empty");
      return CheckReference(name + ".model", source.model(), limits, check);
    case v1::Source::kHf:
      if (source.hf().empty()) check.Add(name + ".hf", "is empty");
      return CheckReference(name + ".hf", source.hf(), limits, check);
    case v1::Source::kFiles:
      return CheckFiles(name + ".files", source.files(), limits, check);
    case v1::Source::kBytes:
      if (bytes == ByteTokenizer::kRefused)
        check.Add(name + ".bytes", "is only valid for tokenizers");
      if (!source.bytes()) check.Add(name + ".bytes", "is false: leave the source unset instead");
      return;
    case v1::Source::KIND_NOT_SET:
      return check.Add(name, "does not name a source");
  }
}

SourceSpec FolderSource(const ModelVersion& version) {
  SourceSpec spec;
  spec.kind = SourceSpec::Kind::kFolder;
  spec.name = version.name + "@" + version.version;
  spec.directory = version.directory.string();
  return spec;
}

absl::StatusOr<SourceSpec> ResolveSource(const v1::Source& source, const ServiceContext& services) {
  switch (source.kind_case()) {
    case v1::Source::kModel:
      return ResolveFolder(source.model(), services);
    case v1::Source::kHf:
      return ResolveFolder("hf:" + source.hf(), services);
    case v1::Source::kFiles:
      return ResolveFiles(source.files(), services);
    case v1::Source::kBytes: {
      SourceSpec spec;
      spec.kind = SourceSpec::Kind::kBytes;
      spec.name = "bytes";
      return spec;
    }
    case v1::Source::KIND_NOT_SET:
      break;
  }
  return SourceSpec();
}

absl::StatusOr<std::string> ModelReference(const v1::ModelRef& model,
                                           const ServiceContext& services) {
  if (!model.name().empty()) return model.name();
  if (!services.default_model.empty()) return services.default_model;
  LFM2_ASSIGN_OR_RETURN(std::vector<ModelVersion> models, services.model_store.List());
  std::erase_if(models, [](const ModelVersion& one) { return IsOneCallersInit(one.name); });
  if (models.empty()) {
    RequestCheck check;
    check.Add("model", "is empty, and the server has no model yet");
    return check.ToStatus();
  }
  return std::max_element(models.begin(), models.end(),
                          [](const ModelVersion& a, const ModelVersion& b) {
                            return a.manifest.created_at_ms < b.manifest.created_at_ms;
                          })
      ->name;
}

int CheckPageSize(bool set, int64_t value, RequestCheck& check) {
  if (!set) return kDefaultPage;
  check.Range("page_size", value, 1, kMaxPage);
  return static_cast<int>(std::clamp<int64_t>(value, 1, kMaxPage));
}

absl::StatusOr<JobQueue*> JobsOf(const ServiceContext& services) {
  if (services.jobs != nullptr) return services.jobs;
  return Error(Reason::kJobStoreCorrupt,
               "the job store could not be opened; generation still works");
}

}  // namespace lfm2
