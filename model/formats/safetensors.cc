#include "model/formats/safetensors.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "base/errors.h"
#include "base/file.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

constexpr int64_t kPrefixBytes = 8;  // u64 header length, little-endian
constexpr int64_t kAlignment = 8;    // of the first data byte, as the reference implementation pads
constexpr int64_t kHeaderDepth = 4;
constexpr int64_t kMaxDimensions = 16;
constexpr int64_t kMaxShards = 4096;

struct Range {
  int64_t begin;
  int64_t end;
};

struct Source {
  std::string_view file;
  std::span<const std::byte> data;  // the bytes after the header
  int64_t data_offset;              // of those bytes in the file
};

absl::StatusOr<int64_t> HeaderLength(std::string_view file, std::span<const std::byte> bytes) {
  if (static_cast<int64_t>(bytes.size()) < kPrefixBytes) {
    return FileInvalid(file, 0, "is shorter than the 8 bytes of the header's length");
  }
  uint64_t length = 0;
  for (int i = kPrefixBytes - 1; i >= 0; --i) {
    length = length << 8 | std::to_integer<uint64_t>(bytes[static_cast<size_t>(i)]);
  }
  const uint64_t limit = static_cast<uint64_t>(kDefaultLimits.safetensors_header_bytes);
  if (length > limit) {
    return FileInvalid(file, 0,
                       "header length " + std::to_string(length) + " is over the limit of " +
                           std::to_string(limit));
  }
  if (length > bytes.size() - kPrefixBytes) {
    return FileInvalid(file, 0,
                       "header length " + std::to_string(length) + " is more than the file's " +
                           std::to_string(bytes.size()) + " bytes");
  }
  return static_cast<int64_t>(length);
}

absl::StatusOr<Json> ParseHeader(std::string_view file, std::string_view text) {
  if (text.empty() || text.front() != '{') {
    return FileInvalid(file, kPrefixBytes, "header does not begin with '{'");
  }
  absl::StatusOr<Json> header =
      ParseJson(text, {kDefaultLimits.safetensors_header_bytes, kHeaderDepth});
  if (!header.ok()) {
    return FileInvalid(file, kPrefixBytes, "header: " + std::string(header.status().message()));
  }
  if (static_cast<int64_t>(header->size()) > kDefaultLimits.tensors_per_file + 1) {
    return FileInvalid(file, kPrefixBytes,
                       "header has " + std::to_string(header->size()) +
                           " entries, over the limit of " +
                           std::to_string(kDefaultLimits.tensors_per_file));
  }
  return header;
}

absl::Status ReadMetadata(std::string_view file, const Json& value, TensorArchive& archive) {
  if (!value.is_object()) return FileInvalid(file, kPrefixBytes, "__metadata__ is not an object");
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return FileInvalid(file, kPrefixBytes, "__metadata__ has a value that is not a string");
    }
    archive.metadata[key] = text.get<std::string>();
  }
  return absl::OkStatus();
}

bool ReadNonNegative(const Json& value, int64_t* out) {
  if (!value.is_number_unsigned()) return false;
  const uint64_t number = value.get<uint64_t>();
  if (number > static_cast<uint64_t>(INT64_MAX)) return false;
  *out = static_cast<int64_t>(number);
  return true;
}

absl::StatusOr<std::vector<int64_t>> ReadIntegers(const Json& entry, const char* key) {
  const auto it = entry.find(key);
  if (it == entry.end() || !it->is_array()) {
    return Error(Reason::kModelFileInvalid, std::string(key) + " is missing or not a list");
  }
  if (static_cast<int64_t>(it->size()) > kMaxDimensions) {
    return Error(Reason::kModelFileInvalid, std::string(key) + " has more than " +
                                                std::to_string(kMaxDimensions) + " entries");
  }
  std::vector<int64_t> out;
  for (const Json& value : *it) {
    int64_t number = 0;
    if (!ReadNonNegative(value, &number)) {
      return Error(Reason::kModelFileInvalid,
                   std::string(key) + " has an entry that is not an integer from 0 to 2^63 - 1");
    }
    out.push_back(number);
  }
  return out;
}

absl::StatusOr<TensorView> ReadTensor(const std::string& name, const Json& entry,
                                      const Source& source, Range* range) {
  if (!entry.is_object() || entry.size() != 3) {
    return Error(Reason::kModelFileInvalid, "is not {dtype, shape, data_offsets}");
  }
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) {
    return Error(Reason::kModelFileInvalid, "dtype is missing or not a string");
  }
  TensorView tensor;
  tensor.name = name;
  LFM2_ASSIGN_OR_RETURN(tensor.dtype, DTypeBySafetensorsName(dtype->get<std::string>()));
  LFM2_ASSIGN_OR_RETURN(tensor.shape, ReadIntegers(entry, "shape"));
  LFM2_ASSIGN_OR_RETURN(const std::vector<int64_t> offsets, ReadIntegers(entry, "data_offsets"));
  LFM2_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(tensor.shape));
  if (offsets.size() != 2 || offsets[0] > offsets[1] ||
      offsets[1] > static_cast<int64_t>(source.data.size())) {
    return Error(Reason::kModelFileInvalid, "data_offsets are not [begin, end] within the " +
                                                std::to_string(source.data.size()) +
                                                " bytes of data");
  }
  if (!CheckedMul(elements, SizeOf(tensor.dtype), &tensor.bytes) ||
      tensor.bytes != offsets[1] - offsets[0]) {
    return Error(Reason::kModelFileInvalid,
                 "data_offsets span " + std::to_string(offsets[1] - offsets[0]) + " bytes, but " +
                     SafetensorsName(tensor.dtype) + " " + ShapeToString(tensor.shape) +
                     " needs another number");
  }
  tensor.data = source.data.data() + offsets[0];
  *range = {offsets[0], offsets[1]};
  return tensor;
}

// The sorted ranges must cover the data from the first byte to the last without gap or overlap.
absl::Status CheckTiling(const Source& source, std::vector<Range> ranges) {
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  int64_t expected = 0;
  for (const Range& range : ranges) {
    if (range.begin != expected) {
      return FileInvalid(
          source.file, source.data_offset + std::min(expected, range.begin),
          range.begin < expected ? "two tensors overlap" : "there is a hole between tensors");
    }
    expected = range.end;
  }
  if (expected != static_cast<int64_t>(source.data.size())) {
    return FileInvalid(source.file, source.data_offset + expected,
                       "bytes after the last tensor do not belong to any tensor");
  }
  return absl::OkStatus();
}

absl::StatusOr<TensorArchive> ReadOneFile(const std::filesystem::path& path) {
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  LFM2_ASSIGN_OR_RETURN(TensorArchive archive,
                        ParseSafetensors(path.filename().string(),
                                         {file->data(), static_cast<size_t>(file->size())}));
  archive.AddFile(std::move(file));
  return archive;
}

struct ShardIndex {
  std::map<std::string, std::string> shard_of;  // tensor name to file name
  std::set<std::string> shards;
};

absl::StatusOr<ShardIndex> ParseIndex(std::string_view file, std::string_view text) {
  absl::StatusOr<Json> root = ParseJson(text);
  if (!root.ok()) return FileInvalid(file, 0, std::string(root.status().message()));
  const auto map = root->find("weight_map");
  if (!root->is_object() || map == root->end() || !map->is_object()) {
    return FileInvalid(file, 0, "weight_map is missing or not an object");
  }
  ShardIndex index;
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string())
      return FileInvalid(file, 0, "weight_map has a value that is not a string");
    const std::string name = shard.get<std::string>();
    LFM2_RETURN_IF_ERROR(CheckPlainName("shard", name, kDefaultLimits.name_bytes));
    index.shard_of[tensor] = name;
    index.shards.insert(name);
  }
  if (static_cast<int64_t>(index.shards.size()) > kMaxShards) {
    return FileInvalid(file, 0,
                       "names " + std::to_string(index.shards.size()) +
                           " shards, over the limit of " + std::to_string(kMaxShards));
  }
  return index;
}

// Every tensor of the shard must be mapped to it by weight_map, so no name is in two shards.
absl::Status TakeShard(const ShardIndex& index, const std::string& shard, TensorArchive part,
                       TensorArchive& whole) {
  for (TensorView& tensor : part.tensors) {
    const auto it = index.shard_of.find(tensor.name);
    if (it == index.shard_of.end() || it->second != shard) {
      return FileInvalid(
          shard, 0, "holds tensor \"" + tensor.name + "\", which the index does not place there");
    }
    whole.tensors.push_back(std::move(tensor));
  }
  whole.owners.insert(whole.owners.end(), part.owners.begin(), part.owners.end());
  whole.mapped.insert(whole.mapped.end(), part.mapped.begin(), part.mapped.end());
  whole.metadata.insert(part.metadata.begin(), part.metadata.end());
  return absl::OkStatus();
}

absl::StatusOr<TensorArchive> ReadSharded(const std::filesystem::path& path) {
  const std::string file = path.filename().string();
  LFM2_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kDefaultLimits.json_bytes));
  LFM2_ASSIGN_OR_RETURN(const ShardIndex index, ParseIndex(file, text));
  TensorArchive whole;
  for (const std::string& shard : index.shards) {
    LFM2_ASSIGN_OR_RETURN(TensorArchive part, ReadOneFile(path.parent_path() / shard));
    LFM2_RETURN_IF_ERROR(TakeShard(index, shard, std::move(part), whole));
  }
  if (whole.tensors.size() != index.shard_of.size()) {
    std::set<std::string_view> present;
    for (const TensorView& tensor : whole.tensors) present.insert(tensor.name);
    for (const auto& [name, shard] : index.shard_of) {
      if (present.count(name) == 0) {
        return FileInvalid(shard, 0,
                           "does not hold tensor \"" + name + "\", which the index places there");
      }
    }
  }
  return whole;
}

Json HeaderOf(std::span<const TensorView> tensors,
              const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = Json(metadata);
  int64_t offset = 0;
  auto& members = header.get_ref<Json::object_t&>();
  for (const TensorView& tensor : tensors) {
    const Json entry = {{"dtype", SafetensorsName(tensor.dtype)},
                        {"shape", tensor.shape},
                        {"data_offsets", {offset, offset + tensor.bytes}}};
    members.push_back(Json::object_t::value_type(tensor.name, entry));
    offset += tensor.bytes;
  }
  return header;
}

absl::Status CheckWritable(std::span<const TensorView> tensors) {
  std::set<std::string_view> names;
  for (const TensorView& tensor : tensors) {
    if (IsBlockType(tensor.dtype)) {
      return Error(Reason::kInternal, "tensor \"" + tensor.name + "\" is " +
                                          SafetensorsName(tensor.dtype) +
                                          ", which safetensors does not have");
    }
    if (tensor.name == "__metadata__" || !names.insert(tensor.name).second) {
      return Error(Reason::kInternal,
                   "tensor name \"" + tensor.name + "\" cannot be written twice");
    }
  }
  return absl::OkStatus();
}

std::string LittleEndian64(uint64_t value) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

}  // namespace

absl::StatusOr<TensorArchive> ParseSafetensors(std::string_view file_name,
                                               std::span<const std::byte> bytes) {
  LFM2_ASSIGN_OR_RETURN(const int64_t length, HeaderLength(file_name, bytes));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kPrefixBytes,
                              static_cast<size_t>(length));
  LFM2_ASSIGN_OR_RETURN(const Json header, ParseHeader(file_name, text));
  const int64_t data_offset = kPrefixBytes + length;
  const Source source = {file_name, bytes.subspan(static_cast<size_t>(data_offset)), data_offset};
  TensorArchive archive;
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      LFM2_RETURN_IF_ERROR(ReadMetadata(file_name, entry, archive));
      continue;
    }
    Range range = {0, 0};
    absl::StatusOr<TensorView> tensor = ReadTensor(name, entry, source, &range);
    if (!tensor.ok()) {
      return FileInvalid(file_name, kPrefixBytes,
                         "tensor \"" + name + "\": " + std::string(tensor.status().message()));
    }
    ranges.push_back(range);
    archive.tensors.push_back(*std::move(tensor));
  }
  LFM2_RETURN_IF_ERROR(CheckTiling(source, std::move(ranges)));
  // Tensors are sorted by the position of their data.
  std::stable_sort(archive.tensors.begin(), archive.tensors.end(),
                   [](const TensorView& a, const TensorView& b) { return a.data < b.data; });
  return archive;
}

absl::StatusOr<TensorArchive> ReadSafetensors(const std::filesystem::path& path) {
  return path.extension() == ".json" ? ReadSharded(path) : ReadOneFile(path);
}

absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const TensorView> tensors,
                              const std::map<std::string, std::string>& metadata) {
  LFM2_RETURN_IF_ERROR(CheckWritable(tensors));
  std::string header =
      HeaderOf(tensors, metadata).dump(-1, ' ', false, Json::error_handler_t::replace);
  while (header.size() % kAlignment != 0) header += ' ';
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<FileWriter> writer, FileWriter::Create(path));
  LFM2_RETURN_IF_ERROR(writer->Append(LittleEndian64(header.size()) + header));
  for (const TensorView& tensor : tensors) {
    LFM2_RETURN_IF_ERROR(writer->Append(std::string_view(reinterpret_cast<const char*>(tensor.data),
                                                         static_cast<size_t>(tensor.bytes))));
  }
  return writer->Close();
}

}  // namespace lfm2
