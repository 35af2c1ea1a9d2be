// WriteNpz: a zip of stored members, written in one pass. Source of the layout: PKWARE's
// APPNOTE, 4.3 and 4.5.3 (zip64).
#include <zlib.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "model/formats/npy_header.h"
#include "model/formats/npz.h"

namespace lfm2 {
namespace {

constexpr uint32_t kMax32 = std::numeric_limits<uint32_t>::max();
constexpr uint16_t kMax16 = std::numeric_limits<uint16_t>::max();
constexpr uint16_t kDosDate = 33;  // 1980-01-01: the same tensors give the same bytes
constexpr uint16_t kUtf8Names = 0x0800;
constexpr uint16_t kZip64Tag = 1;
constexpr uint16_t kVersionPlain = 20;
constexpr uint16_t kVersionZip64 = 45;

struct Member {
  std::string name;
  uint64_t size = 0;
  uint64_t offset = 0;
  uint32_t crc = 0;
};

// `before`: 0, or the result for the bytes before. zlib returns 0 for a null pointer, which an
// empty tensor's data may be.
uint32_t Crc32(uint32_t before, std::string_view bytes) {
  if (bytes.empty()) return before;
  return static_cast<uint32_t>(
      crc32_z(before, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

void Put16(std::string& out, uint64_t value) {
  for (int i = 0; i < 2; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}
void Put32(std::string& out, uint64_t value) {
  for (int i = 0; i < 4; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}
void Put64(std::string& out, uint64_t value) {
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

// The fields that a local header and a central record share.
void PutCommon(std::string& out, const Member& member, size_t extra_bytes) {
  const bool large = member.size >= kMax32;
  Put16(out, extra_bytes > 0 ? kVersionZip64 : kVersionPlain);
  Put16(out, kUtf8Names);
  Put16(out, 0);  // stored
  Put16(out, 0);  // midnight
  Put16(out, kDosDate);
  Put32(out, member.crc);
  Put32(out, large ? kMax32 : member.size);
  Put32(out, large ? kMax32 : member.size);
  Put16(out, member.name.size());
  Put16(out, extra_bytes);
}

std::string Zip64Extra(const std::vector<uint64_t>& values) {
  std::string out;
  if (values.empty()) return out;
  Put16(out, kZip64Tag);
  Put16(out, 8 * values.size());
  for (uint64_t value : values) Put64(out, value);
  return out;
}

std::string LocalHeader(const Member& member) {
  std::vector<uint64_t> wide;
  if (member.size >= kMax32) wide = {member.size, member.size};
  const std::string extra = Zip64Extra(wide);
  std::string out;
  Put32(out, 0x04034b50);
  PutCommon(out, member, extra.size());
  return out + member.name + extra;
}

std::string CentralRecord(const Member& member) {
  std::vector<uint64_t> wide;
  if (member.size >= kMax32) wide = {member.size, member.size};
  if (member.offset >= kMax32) wide.push_back(member.offset);
  const std::string extra = Zip64Extra(wide);
  std::string out;
  Put32(out, 0x02014b50);
  Put16(out, kVersionZip64);
  PutCommon(out, member, extra.size());
  Put16(out, 0);  // comment
  Put16(out, 0);  // disk
  Put16(out, 0);  // internal attributes
  Put32(out, uint64_t{0100644} << 16);
  Put32(out, member.offset >= kMax32 ? kMax32 : member.offset);
  return out + member.name + extra;
}

std::string EndRecords(uint64_t count, uint64_t central_offset, uint64_t central_size) {
  std::string out;
  if (count >= kMax16 || central_offset >= kMax32 || central_size >= kMax32) {
    Put32(out, 0x06064b50);
    Put64(out, 44);
    Put16(out, kVersionZip64);
    Put16(out, kVersionZip64);
    Put32(out, 0);
    Put32(out, 0);
    Put64(out, count);
    Put64(out, count);
    Put64(out, central_size);
    Put64(out, central_offset);
    Put32(out, 0x07064b50);
    Put32(out, 0);
    Put64(out, central_offset + central_size);
    Put32(out, 1);
  }
  Put32(out, 0x06054b50);
  Put16(out, 0);
  Put16(out, 0);
  Put16(out, std::min<uint64_t>(count, kMax16));
  Put16(out, std::min<uint64_t>(count, kMax16));
  Put32(out, std::min<uint64_t>(central_size, kMax32));
  Put32(out, std::min<uint64_t>(central_offset, kMax32));
  Put16(out, 0);
  return out;
}

absl::Status CheckNames(std::span<const TensorView> tensors) {
  std::set<std::string_view> names;
  for (const TensorView& tensor : tensors) {
    if (tensor.name.empty() || tensor.name.size() + 4 > kMax16 ||
        !names.insert(tensor.name).second) {
      return Error(Reason::kInternal,
                   "tensor name \"" + tensor.name.substr(0, 128) +
                       "\" is empty, too long or given twice: no NPZ can hold it");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Member> WriteMember(const TensorView& tensor, uint64_t offset, FileWriter& writer) {
  LFM2_ASSIGN_OR_RETURN(const std::string header, NpyHeaderText(tensor));
  const std::string_view data(reinterpret_cast<const char*>(tensor.data),
                              static_cast<size_t>(tensor.bytes));
  Member member;
  member.name = tensor.name + ".npy";
  member.size = header.size() + data.size();
  member.offset = offset;
  member.crc = Crc32(Crc32(0, header), data);
  LFM2_RETURN_IF_ERROR(writer.Append(LocalHeader(member) + header));
  LFM2_RETURN_IF_ERROR(writer.Append(data));
  return member;
}

}  // namespace

absl::Status WriteNpz(const std::filesystem::path& path, std::span<const TensorView> tensors) {
  LFM2_RETURN_IF_ERROR(CheckNames(tensors));
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<FileWriter> writer, FileWriter::Create(path));
  uint64_t offset = 0;
  std::string central;
  for (const TensorView& tensor : tensors) {
    LFM2_ASSIGN_OR_RETURN(const Member member, WriteMember(tensor, offset, *writer));
    offset += LocalHeader(member).size() + member.size;
    central += CentralRecord(member);
  }
  LFM2_RETURN_IF_ERROR(writer->Append(central));
  LFM2_RETURN_IF_ERROR(writer->Append(EndRecords(tensors.size(), offset, central.size())));
  return writer->Close();
}

}  // namespace lfm2
