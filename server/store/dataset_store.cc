#include "server/store/dataset_store.h"

#include <algorithm>
#include <optional>
#include <tuple>

#include "base/errors.h"
#include "base/json.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "server/store/disk.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIdPrefix = "sha256:";
constexpr std::string_view kDataFile = "data";
constexpr std::string_view kMetaFile = "meta.json";
constexpr int64_t kMetaBytes = 64 << 10;

std::string_view WithoutPrefix(std::string_view sha256) {
  return sha256.starts_with(kIdPrefix) ? sha256.substr(kIdPrefix.size()) : sha256;
}

absl::Status WriteMeta(const fs::path& directory, const DatasetInfo& info) {
  Json json;
  json["name"] = info.name;
  json["bytes"] = info.bytes;
  json["created_at_ms"] = info.created_at_ms;
  return WriteFileDurably(directory / kMetaFile, json.dump(2) + "\n");
}

absl::Status DamagedError(std::string_view id, std::string_view what) {
  return Error(Reason::kStorageIoError,
               "dataset \"" + std::string(id) + "\": " + std::string(what));
}

absl::StatusOr<DatasetInfo> ReadInfo(const fs::path& directory, const std::string& id) {
  absl::StatusOr<std::string> text = ReadFile(directory / kMetaFile, kMetaBytes);
  if (!text.ok() && DetailsOf(text.status()).reason == Reason::kFileNotFound) {
    return NotFound(Reason::kDatasetNotFound, "dataset", id);
  }
  if (!text.ok()) return text.status();
  const absl::StatusOr<Json> json = ParseJson(*text);
  if (!json.ok() || !json->is_object()) return DamagedError(id, "meta.json is not a JSON object");
  const auto name = json->find("name");
  const auto bytes = json->find("bytes");
  const auto created = json->find("created_at_ms");
  if (name == json->end() || !name->is_string() || bytes == json->end() ||
      !bytes->is_number_integer() || created == json->end() || !created->is_number_integer()) {
    return DamagedError(id, "meta.json lacks name, bytes or created_at_ms");
  }
  DatasetInfo info;
  info.id = id;
  info.name = name->get<std::string>();
  info.bytes = bytes->get<int64_t>();
  info.created_at_ms = created->get<int64_t>();
  std::error_code error;
  const auto size = fs::file_size(directory / kDataFile, error);
  if (error || static_cast<int64_t>(size) != info.bytes) {
    return DamagedError(
        id, "the file is not the " + std::to_string(info.bytes) + " bytes that were uploaded");
  }
  return info;
}

}  // namespace

std::optional<std::string> DatasetHashOf(std::string_view id) {
  if (!id.starts_with(kIdPrefix) || !IsSha256Hex(id.substr(kIdPrefix.size()))) return std::nullopt;
  return std::string(id.substr(kIdPrefix.size()));
}

fs::path DatasetFileUnder(const fs::path& root, const std::string& hash) {
  return root / hash / kDataFile;
}

DatasetUpload::DatasetUpload(DatasetStore& store, std::string name, fs::path path,
                             std::unique_ptr<FileWriter> writer)
    : store_(store), name_(std::move(name)), path_(std::move(path)), writer_(std::move(writer)) {}

DatasetUpload::~DatasetUpload() {
  writer_.reset();
  std::error_code error;  // what cannot be removed now is removed when the store is next opened
  fs::remove_all(path_, error);
}

absl::Status DatasetUpload::Append(std::string_view bytes) {
  if (writer_ == nullptr) return Error(Reason::kWrongState, "the upload has ended");
  const int64_t limit = store_.limits_.dataset_bytes;
  absl::Status status;
  if (static_cast<int64_t>(bytes.size()) > limit - bytes_) {
    status = Error(Reason::kMessageTooLarge,
                   "the dataset is larger than the limit of " + std::to_string(limit) + " bytes",
                   {{"limit", std::to_string(limit)}});
  } else {
    status = writer_->Append(bytes);
  }
  if (!status.ok()) {
    writer_.reset();  // part of the write may be on disk: nothing may be appended to it
    return status;
  }
  hash_.Update(bytes);
  bytes_ += static_cast<int64_t>(bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<DatasetInfo> DatasetUpload::Commit(const std::string& sha256) {
  if (writer_ == nullptr) return Error(Reason::kWrongState, "the upload has ended");
  const std::unique_ptr<FileWriter> writer = std::move(writer_);
  LFM2_RETURN_IF_ERROR(writer->Close());
  const std::string actual = hash_.Hex();
  if (const std::string_view expected = WithoutPrefix(sha256);
      !expected.empty() && expected != actual) {
    return Error(
        Reason::kDatasetHashMismatch,
        "the uploaded bytes have SHA-256 " + actual + ", announced was " + std::string(expected),
        {{"expected", std::string(expected)}, {"actual", actual}});
  }
  DatasetInfo info;
  info.id = std::string(kIdPrefix) + actual;
  info.name = name_;
  info.bytes = bytes_;
  info.created_at_ms = store_.clock_.UnixMillis();
  return store_.Publish(path_, std::move(info));
}

DatasetStore::DatasetStore(fs::path root, const Limits& limits, Clock& clock)
    : root_(std::move(root)), limits_(limits), clock_(clock) {}

absl::StatusOr<std::unique_ptr<DatasetStore>> DatasetStore::Open(const fs::path& root,
                                                                 const Limits& limits,
                                                                 Clock& clock) {
  LFM2_RETURN_IF_ERROR(MakeDirectory(root));
  LFM2_RETURN_IF_ERROR(RemoveLeftovers(root));
  return std::unique_ptr<DatasetStore>(new DatasetStore(root, limits, clock));
}

absl::StatusOr<std::unique_ptr<DatasetUpload>> DatasetStore::Begin(const std::string& file_name) {
  LFM2_RETURN_IF_ERROR(CheckPlainName("dataset name", file_name, limits_.name_bytes));
  const fs::path aside = AsidePathIn(root_);
  LFM2_RETURN_IF_ERROR(MakeDirectory(aside));
  absl::StatusOr<std::unique_ptr<FileWriter>> writer = FileWriter::Create(aside / kDataFile);
  const absl::Status created = writer.status();
  // Made even without a writer: its destructor removes the directory.
  auto upload = std::unique_ptr<DatasetUpload>(
      new DatasetUpload(*this, file_name, aside, created.ok() ? *std::move(writer) : nullptr));
  if (!created.ok()) return created;
  return upload;
}

// The first rename wins; another upload of this id has the same bytes.
absl::StatusOr<DatasetInfo> DatasetStore::Publish(const fs::path& aside, DatasetInfo info) const {
  const fs::path home = root_ / info.id.substr(kIdPrefix.size());
  LFM2_RETURN_IF_ERROR(WriteMeta(aside, info));
  std::error_code error;
  fs::permissions(aside / kDataFile,
                  fs::perms::owner_read | fs::perms::group_read | fs::perms::others_read, error);
  LFM2_RETURN_IF_ERROR(DiskStatus(error, "protecting", aside / kDataFile));
  if (fs::exists(home, error)) return Existing(info.id);
  const absl::Status published = PublishDirectory(aside, home);
  if (!published.ok() && fs::exists(home, error)) return Existing(info.id);
  if (!published.ok()) return published;
  return info;
}

absl::StatusOr<DatasetInfo> DatasetStore::Existing(const std::string& id) const {
  LFM2_ASSIGN_OR_RETURN(DatasetInfo info, Get(id));
  info.existed = true;
  return info;
}

absl::StatusOr<DatasetInfo> DatasetStore::Get(const std::string& id) const {
  const std::optional<std::string> hash = DatasetHashOf(id);
  if (!hash.has_value()) return NotFound(Reason::kDatasetNotFound, "dataset", id);
  return ReadInfo(root_ / *hash, id);
}

absl::StatusOr<std::vector<DatasetInfo>> DatasetStore::List() const {
  LFM2_ASSIGN_OR_RETURN(const std::vector<std::string> names, EntriesOf(root_));
  std::vector<DatasetInfo> infos;
  for (const std::string& name : names) {
    if (!IsSha256Hex(name)) continue;
    absl::StatusOr<DatasetInfo> info = Get(std::string(kIdPrefix) + name);
    if (info.ok()) {
      infos.push_back(*std::move(info));
    } else {
      // A damaged dataset must not hide the others.
      Log(LogLevel::kWarning, "dataset cannot be listed",
          {{"sha256", name}, {"error", std::string(info.status().message())}});
    }
  }
  std::sort(infos.begin(), infos.end(), [](const DatasetInfo& a, const DatasetInfo& b) {
    return std::tie(b.created_at_ms, a.id) < std::tie(a.created_at_ms, b.id);
  });
  return infos;
}

fs::path DatasetStore::FileOf(const std::string& id) const {
  const std::optional<std::string> hash = DatasetHashOf(id);
  return hash.has_value() ? root_ / *hash / kDataFile : fs::path();
}

}  // namespace lfm2
