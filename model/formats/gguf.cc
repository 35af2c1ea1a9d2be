#include "model/formats/gguf.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>
#include <vector>

#include "base/errors.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr int64_t kMaxKeyBytes = 65'535;
constexpr int64_t kMaxStringBytes = 16 << 20;
constexpr int64_t kMaxArrayElements = int64_t{16} << 20;  // in all arrays of the file together
constexpr int64_t kMaxNameBytes = 256;
constexpr uint32_t kMaxDimensions = 4;
constexpr int64_t kDefaultAlignment = 32;
constexpr int64_t kMaxAlignment = 1 << 20;

enum ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64,
};

struct TypeName {
  uint32_t type;
  const char* name;
};

struct ReadableType {
  uint32_t type;
  DType dtype;
};

constexpr ReadableType kReadTypes[] = {
    {0, DType::kF32},  {1, DType::kF16},  {30, DType::kBF16},
    {8, DType::kQ8_0}, {2, DType::kQ4_0}, {3, DType::kQ4_1},
};

constexpr TypeName kUnreadTypes[] = {
    {6, "Q5_0"},   {7, "Q5_1"},    {9, "Q8_1"},   {10, "Q2_K"},    {11, "Q3_K"},   {12, "Q4_K"},
    {13, "Q5_K"},  {14, "Q6_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"},
    {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},
    {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},
    {35, "TQ2_0"}, {39, "MXFP4"},
};

// The double with the same shortest decimal form: 1e-5f becomes 1e-5, not 9.99999974e-06.
double ShortestDouble(float value) {
  char text[64];
  const std::to_chars_result end = std::to_chars(text, text + sizeof(text) - 1, value);
  *end.ptr = '\0';
  return std::strtod(text, nullptr);
}

struct TensorInfo {
  TensorView view;
  int64_t offset = 0;  // in the data section
};

class Reader {
 public:
  Reader(std::string_view file, std::span<const std::byte> bytes) : file_(file), bytes_(bytes) {}

  absl::StatusOr<GgufFile> Run() {
    LFM2_RETURN_IF_ERROR(ReadHeader());
    for (int64_t i = 0; i < metadata_count_; ++i) LFM2_RETURN_IF_ERROR(ReadEntry());
    LFM2_RETURN_IF_ERROR(ReadAlignment());
    std::vector<TensorInfo> infos;
    for (int64_t i = 0; i < tensor_count_; ++i) {
      LFM2_ASSIGN_OR_RETURN(TensorInfo info, ReadTensorInfo());
      infos.push_back(std::move(info));
    }
    LFM2_RETURN_IF_ERROR(PlaceTensors(infos));
    return std::move(out_);
  }

 private:
  absl::Status Invalid(std::string_view rule) const {
    return FileInvalid(file_, static_cast<int64_t>(position_), rule);
  }

  int64_t Remaining() const { return static_cast<int64_t>(bytes_.size() - position_); }

  template <typename T>
  absl::StatusOr<T> Take() {
    if (Remaining() < static_cast<int64_t>(sizeof(T))) return Invalid("ends too early");
    T value;
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  // Reads a u64 count or length of at most `limit`.
  absl::StatusOr<int64_t> TakeSize(const char* what, int64_t limit) {
    LFM2_ASSIGN_OR_RETURN(const uint64_t value, Take<uint64_t>());
    if (value > static_cast<uint64_t>(limit)) {
      return Invalid(std::string(what) + " " + std::to_string(value) + " is over the limit of " +
                     std::to_string(limit));
    }
    return static_cast<int64_t>(value);
  }

  absl::StatusOr<std::string> TakeString(const char* what, int64_t limit) {
    LFM2_ASSIGN_OR_RETURN(const int64_t length, TakeSize(what, std::min(limit, Remaining())));
    if (length > Remaining()) return Invalid(std::string(what) + " is longer than the file");
    std::string text(reinterpret_cast<const char*>(bytes_.data()) + position_,
                     static_cast<size_t>(length));
    position_ += static_cast<size_t>(length);
    return text;
  }

  absl::Status ReadHeader() {
    LFM2_ASSIGN_OR_RETURN(const uint32_t magic, Take<uint32_t>());
    if (magic != kMagic) return Invalid("does not begin with \"GGUF\"");
    LFM2_ASSIGN_OR_RETURN(const uint32_t version, Take<uint32_t>());
    if (version != 2 && version != 3) {
      return Invalid((version & 0xffff) == 0
                         ? "is big-endian"
                         : "version " + std::to_string(version) + " is neither 2 nor 3");
    }
    LFM2_ASSIGN_OR_RETURN(tensor_count_, TakeSize("tensor count", kDefaultLimits.tensors_per_file));
    LFM2_ASSIGN_OR_RETURN(metadata_count_,
                          TakeSize("metadata count", kDefaultLimits.tensors_per_file));
    return absl::OkStatus();
  }

  absl::Status ReadEntry() {
    LFM2_ASSIGN_OR_RETURN(const std::string key, TakeString("key length", kMaxKeyBytes));
    LFM2_ASSIGN_OR_RETURN(const uint32_t type, Take<uint32_t>());
    Json value;
    if (type == kArray) {
      LFM2_ASSIGN_OR_RETURN(value, ReadArray());
    } else {
      LFM2_ASSIGN_OR_RETURN(value, ReadScalar(type));
    }
    if (!out_.metadata.emplace(key, std::move(value)).second) {
      return Invalid("key \"" + key.substr(0, 64) + "\" appears twice");
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Json> ReadArray() {
    LFM2_ASSIGN_OR_RETURN(const uint32_t type, Take<uint32_t>());
    if (type == kArray) return Invalid("arrays of arrays are not read");
    LFM2_ASSIGN_OR_RETURN(const int64_t count,
                          TakeSize("array length", kMaxArrayElements - array_elements_));
    array_elements_ += count;
    // No memory is reserved: each element must first be read from the file.
    Json array = Json::array();
    for (int64_t i = 0; i < count; ++i) {
      LFM2_ASSIGN_OR_RETURN(Json value, ReadScalar(type));
      array.push_back(std::move(value));
    }
    return array;
  }

  template <typename T>
  absl::StatusOr<Json> TakeJson() {
    LFM2_ASSIGN_OR_RETURN(const T value, Take<T>());
    return Json(value);
  }

  absl::StatusOr<Json> ReadScalar(uint32_t type) {
    switch (type) {
      case kUint8:
        return TakeJson<uint8_t>();
      case kInt8:
        return TakeJson<int8_t>();
      case kUint16:
        return TakeJson<uint16_t>();
      case kInt16:
        return TakeJson<int16_t>();
      case kUint32:
        return TakeJson<uint32_t>();
      case kInt32:
        return TakeJson<int32_t>();
      case kUint64:
        return TakeJson<uint64_t>();
      case kInt64:
        return TakeJson<int64_t>();
      case kFloat64:
        return TakeJson<double>();
      case kFloat32: {
        LFM2_ASSIGN_OR_RETURN(const float value, Take<float>());
        return Json(ShortestDouble(value));
      }
      case kBool: {
        LFM2_ASSIGN_OR_RETURN(const uint8_t value, Take<uint8_t>());
        if (value > 1) return Invalid("a boolean is neither 0 nor 1");
        return Json(value == 1);
      }
      case kString: {
        LFM2_ASSIGN_OR_RETURN(std::string text, TakeString("string length", kMaxStringBytes));
        return Json(std::move(text));
      }
      default:
        return Invalid("value type " + std::to_string(type) + " is not one of GGUF's");
    }
  }

  absl::Status ReadAlignment() {
    const auto it = out_.metadata.find("general.alignment");
    if (it == out_.metadata.end()) return absl::OkStatus();
    const bool number = it->second.is_number_unsigned();
    const uint64_t value = number ? it->second.get<uint64_t>() : 0;
    if (value < 1 || value > static_cast<uint64_t>(kMaxAlignment) || (value & (value - 1)) != 0) {
      return Invalid("general.alignment is not a power of two up to " +
                     std::to_string(kMaxAlignment));
    }
    alignment_ = static_cast<int64_t>(value);
    return absl::OkStatus();
  }

  absl::StatusOr<DType> ReadType(const std::string& name) {
    LFM2_ASSIGN_OR_RETURN(const uint32_t type, Take<uint32_t>());
    std::string read;
    for (const ReadableType& known : kReadTypes) {
      if (known.type == type) return known.dtype;
      read += (read.empty() ? "" : ", ") + std::string(SafetensorsName(known.dtype));
    }
    std::string shown = "type " + std::to_string(type);
    for (const TypeName& unread : kUnreadTypes) {
      if (unread.type == type) shown = unread.name;
    }
    return Error(
        Reason::kUnsupported,
        std::string(file_) + ": tensor \"" + name + "\" is " + shown + "; these are read: " + read,
        {{"file", std::string(file_)}, {"tensor", name}, {"type", shown}});
  }

  absl::StatusOr<TensorInfo> ReadTensorInfo() {
    TensorInfo info;
    LFM2_ASSIGN_OR_RETURN(info.view.name, TakeString("tensor name length", kMaxNameBytes));
    LFM2_ASSIGN_OR_RETURN(const uint32_t dimensions, Take<uint32_t>());
    if (dimensions > kMaxDimensions) {
      return Invalid("a tensor has " + std::to_string(dimensions) +
                     " dimensions, over the limit of " + std::to_string(kMaxDimensions));
    }
    for (uint32_t i = 0; i < dimensions; ++i) {
      LFM2_ASSIGN_OR_RETURN(const int64_t size,
                            TakeSize("dimension", std::numeric_limits<int64_t>::max()));
      info.view.shape.insert(info.view.shape.begin(), size);
    }
    LFM2_ASSIGN_OR_RETURN(info.view.dtype, ReadType(info.view.name));
    LFM2_ASSIGN_OR_RETURN(info.offset,
                          TakeSize("tensor offset", static_cast<int64_t>(bytes_.size())));
    const absl::StatusOr<int64_t> bytes = BytesOf(info.view.dtype, info.view.shape);
    if (!bytes.ok()) {
      return Invalid("tensor \"" + info.view.name + "\": " + std::string(bytes.status().message()));
    }
    info.view.bytes = *bytes;
    if (info.offset % alignment_ != 0) {
      return Invalid("tensor \"" + info.view.name + "\" is not aligned to " +
                     std::to_string(alignment_));
    }
    return info;
  }

  absl::Status PlaceTensors(std::vector<TensorInfo>& infos) {
    const int64_t size = static_cast<int64_t>(bytes_.size());
    const int64_t position = static_cast<int64_t>(position_);
    const int64_t data = (position + alignment_ - 1) / alignment_ * alignment_;
    std::sort(infos.begin(), infos.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return a.offset != b.offset ? a.offset < b.offset : a.view.bytes < b.view.bytes;
    });
    std::set<std::string_view> names;
    int64_t free_from = 0;
    for (TensorInfo& info : infos) {
      int64_t end = 0;
      const std::string shown = "tensor \"" + info.view.name + "\" ";
      if (!names.insert(info.view.name).second) return Invalid(shown + "appears twice");
      // data + offset cannot overflow: both are at most the file's size plus the largest alignment.
      if (!CheckedAdd(data + info.offset, info.view.bytes, &end) || end > size) {
        return Invalid(shown + "reaches beyond the file");
      }
      if (info.offset < free_from) return Invalid(shown + "overlaps another one");
      free_from = info.offset + info.view.bytes;
      info.view.data = bytes_.data() + data + info.offset;
    }
    for (TensorInfo& info : infos) out_.weights.tensors.push_back(std::move(info.view));
    return absl::OkStatus();
  }

  std::string_view file_;
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  int64_t tensor_count_ = 0;
  int64_t metadata_count_ = 0;
  int64_t array_elements_ = 0;
  int64_t alignment_ = kDefaultAlignment;
  GgufFile out_;
};

}  // namespace

absl::StatusOr<GgufFile> ParseGguf(std::string_view file_name, std::span<const std::byte> bytes) {
  return Reader(file_name, bytes).Run();
}

absl::StatusOr<GgufFile> ReadGguf(const std::filesystem::path& path) {
  LFM2_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::string name = path.filename().string();
  LFM2_ASSIGN_OR_RETURN(GgufFile parsed,
                        ParseGguf(name, {file->data(), static_cast<size_t>(file->size())}));
  parsed.weights.AddFile(std::move(file));
  return parsed;
}

}  // namespace lfm2
