#include "model/formats/npz.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/formats/npy_header.h"
#include "model/formats/zip_reader.h"

namespace lfm2 {
namespace {

constexpr std::string_view kNpySuffix = ".npy";

absl::StatusOr<std::string> ReadText(ZipReader& zip, int64_t bytes) {
  LFM2_ASSIGN_OR_RETURN(const ZipReader::Buffer buffer, zip.Read(bytes));
  return std::string(reinterpret_cast<const char*>(buffer.data()), buffer.size());
}

absl::StatusOr<NpyHeader> ReadHeader(ZipReader& zip) {
  LFM2_ASSIGN_OR_RETURN(const std::string magic, ReadText(zip, kNpyMagicBytes));
  const absl::StatusOr<int64_t> length_bytes = NpyLengthBytes(magic);
  if (!length_bytes.ok()) return zip.Invalid(std::string(length_bytes.status().message()));
  LFM2_ASSIGN_OR_RETURN(const std::string length_text, ReadText(zip, *length_bytes));
  int64_t length = 0;
  for (size_t i = length_text.size(); i-- > 0;) {
    length = length << 8 | static_cast<unsigned char>(length_text[i]);
  }
  if (length > kMaxNpyDictBytes) {
    return zip.Invalid("has a header of " + std::to_string(length) + " bytes, over the limit of " +
                       std::to_string(kMaxNpyDictBytes));
  }
  LFM2_ASSIGN_OR_RETURN(const std::string dict, ReadText(zip, length));
  absl::StatusOr<NpyHeader> header = ParseNpyDict(dict);
  if (!header.ok()) return zip.Invalid(std::string(header.status().message()));
  return header;
}

absl::Status ReadMember(ZipReader& zip, const std::string& name, TensorArchive& archive) {
  LFM2_ASSIGN_OR_RETURN(NpyHeader header, ReadHeader(zip));
  LFM2_ASSIGN_OR_RETURN(ZipReader::Buffer data, zip.Read(header.bytes));
  LFM2_RETURN_IF_ERROR(zip.ExpectMemberEnd());
  auto buffer = std::make_shared<const ZipReader::Buffer>(std::move(data));
  TensorView tensor;
  tensor.name = name;
  tensor.dtype = header.dtype;
  tensor.shape = std::move(header.shape);
  tensor.bytes = header.bytes;
  tensor.data = buffer->data();
  archive.tensors.push_back(std::move(tensor));
  archive.owners.push_back(std::move(buffer));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TensorArchive> ParseNpz(std::string_view file_name,
                                       std::span<const std::byte> bytes) {
  LFM2_ASSIGN_OR_RETURN(ZipReader zip, ZipReader::Open(file_name, bytes));
  TensorArchive archive;
  std::set<std::string> names;
  while (true) {
    LFM2_ASSIGN_OR_RETURN(const std::optional<std::string> member, zip.NextMember());
    if (!member) return archive;
    const size_t stem = member->size() - std::min(member->size(), kNpySuffix.size());
    if (stem == 0 || member->substr(stem) != kNpySuffix) return zip.Invalid("is not a .npy array");
    if (!names.insert(*member).second) return zip.Invalid("appears twice");
    LFM2_RETURN_IF_ERROR(ReadMember(zip, member->substr(0, stem), archive));
  }
}

absl::StatusOr<TensorArchive> ReadNpz(const std::filesystem::path& path) {
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::string name = path.filename().string();
  return ParseNpz(name, {file->data(), static_cast<size_t>(file->size())});
}

}  // namespace lfm2
