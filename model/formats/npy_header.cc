#include "model/formats/npy_header.h"

#include <optional>
#include <set>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);
constexpr size_t kDataAlignment = 64;
constexpr size_t kMaxDimensions = 32;

struct DescrSpec {
  DType dtype;
  const char* descr;
};

constexpr DescrSpec kDescrs[] = {
    {DType::kF64, "<f8"}, {DType::kF32, "<f4"}, {DType::kF16, "<f2"},
    {DType::kI64, "<i8"}, {DType::kI32, "<i4"}, {DType::kI16, "<i2"},
    {DType::kI8, "|i1"},  {DType::kU8, "|u1"},  {DType::kBool, "|b1"},
};

absl::Status Invalid(const std::string& rule) { return Error(Reason::kModelFileInvalid, rule); }

absl::StatusOr<DType> DTypeByDescr(const std::string& descr) {
  for (const DescrSpec& spec : kDescrs) {
    if (descr == spec.descr) return spec.dtype;
  }
  const std::string shown = "descr '" + descr.substr(0, 32) + "' ";
  if (descr.find('O') != std::string::npos) {
    return Invalid(shown + "is an array of Python objects, which is never read");
  }
  if (!descr.empty() && descr.front() == '>') return Invalid(shown + "is big-endian");
  return Invalid(shown + "is not one of <f8 <f4 <f2 <i8 <i4 <i2 |i1 |u1 |b1");
}

// Parses the one form of dict that a header may have, and no other Python.
class DictReader {
 public:
  explicit DictReader(std::string_view text) : text_(text) {}

  absl::StatusOr<NpyHeader> Read() {
    if (!Take('{')) return Invalid("header is not a dict");
    while (!Take('}')) {
      LFM2_RETURN_IF_ERROR(ReadEntry());
      if (Take(',')) continue;
      if (!Take('}')) return Invalid("header's dict is not closed");
      break;
    }
    SkipSpace();
    if (!text_.empty()) return Invalid("header has text after its dict");
    if (seen_.size() != 3) return Invalid("header lacks one of descr, fortran_order, shape");
    return Finish();
  }

 private:
  absl::Status ReadEntry() {
    LFM2_ASSIGN_OR_RETURN(const std::string key, ReadString());
    if (!Take(':')) return Invalid("header's key is not followed by ':'");
    if (!seen_.insert(key).second) return Invalid("header has a key twice");
    if (key == "shape") return ReadShape();
    if (key == "fortran_order") return ReadFortranOrder();
    if (key != "descr") return Invalid("header has the unknown key '" + key.substr(0, 32) + "'");
    SkipSpace();
    if (!text_.empty() && text_.front() == '[') return Invalid("structured arrays are not read");
    LFM2_ASSIGN_OR_RETURN(descr_, ReadString());
    return absl::OkStatus();
  }

  absl::StatusOr<NpyHeader> Finish() const {
    if (fortran_ && shape_.size() > 1)
      return Invalid("Fortran order is not read; save a C-order array");
    NpyHeader header;
    LFM2_ASSIGN_OR_RETURN(header.dtype, DTypeByDescr(descr_));
    LFM2_ASSIGN_OR_RETURN(const int64_t elements, ElementsOf(shape_));
    if (!CheckedMul(elements, SizeOf(header.dtype), &header.bytes)) {
      return Invalid("shape " + ShapeToString(shape_) + " needs more than 2^63 - 1 bytes");
    }
    header.shape = shape_;
    return header;
  }

  absl::StatusOr<std::string> ReadString() {
    SkipSpace();
    if (text_.empty() || (text_.front() != '\'' && text_.front() != '"')) {
      return Invalid("header has another value where a string is expected");
    }
    const char quote = text_.front();
    const size_t end = text_.find(quote, 1);
    if (end == std::string_view::npos) return Invalid("header has a string without an end");
    std::string out(text_.substr(1, end - 1));
    if (out.find('\\') != std::string::npos) return Invalid("header has an escape in a string");
    text_.remove_prefix(end + 1);
    return out;
  }

  absl::Status ReadFortranOrder() {
    if (TakeWord("False")) return absl::OkStatus();
    if (!TakeWord("True")) return Invalid("fortran_order is not True or False");
    fortran_ = true;
    return absl::OkStatus();
  }

  absl::Status ReadShape() {
    if (!Take('(')) return Invalid("shape is not a tuple");
    while (!Take(')')) {
      const std::optional<int64_t> dimension = TakeNumber();
      if (!dimension) return Invalid("shape has an entry that is not an integer below 2^63");
      if (shape_.size() == kMaxDimensions) return Invalid("shape has more than 32 dimensions");
      shape_.push_back(*dimension);
      if (Take(',')) continue;
      if (!Take(')')) return Invalid("shape's tuple is not closed");
      break;
    }
    return absl::OkStatus();
  }

  std::optional<int64_t> TakeNumber() {
    SkipSpace();
    int64_t value = 0;
    size_t digits = 0;
    while (digits < text_.size() && text_[digits] >= '0' && text_[digits] <= '9') {
      if (!CheckedMul(value, 10, &value) || !CheckedAdd(value, text_[digits] - '0', &value)) {
        return std::nullopt;
      }
      ++digits;
    }
    if (digits == 0) return std::nullopt;
    text_.remove_prefix(digits);
    return value;
  }

  bool Take(char c) {
    SkipSpace();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  bool TakeWord(std::string_view word) {
    SkipSpace();
    if (text_.substr(0, word.size()) != word) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  void SkipSpace() {
    while (!text_.empty() && (text_.front() == ' ' || text_.front() == '\n'))
      text_.remove_prefix(1);
  }

  std::string_view text_;
  std::set<std::string> seen_;
  std::string descr_;
  bool fortran_ = false;
  std::vector<int64_t> shape_;
};

std::string ShapeTuple(const std::vector<int64_t>& shape) {
  std::string out = "(";
  for (int64_t dimension : shape) out += std::to_string(dimension) + ", ";
  if (shape.size() > 1) out.resize(out.size() - 2);
  if (shape.size() == 1) out.resize(out.size() - 1);
  return out + ")";
}

}  // namespace

absl::StatusOr<int64_t> NpyLengthBytes(std::string_view magic) {
  if (static_cast<int64_t>(magic.size()) != kNpyMagicBytes || magic.substr(0, 6) != kMagic) {
    return Invalid("does not begin with the magic of a .npy array");
  }
  const int major = static_cast<unsigned char>(magic[6]);
  if (major < 1 || major > 3 || magic[7] != 0) {
    return Invalid(".npy version " + std::to_string(major) + "." +
                   std::to_string(static_cast<unsigned char>(magic[7])) +
                   " is not one of 1.0, 2.0, 3.0");
  }
  return major == 1 ? 2 : 4;
}

absl::StatusOr<NpyHeader> ParseNpyDict(std::string_view text) { return DictReader(text).Read(); }

absl::StatusOr<std::string> NpyHeaderText(const TensorView& tensor) {
  const char* descr = nullptr;
  for (const DescrSpec& spec : kDescrs) {
    if (spec.dtype == tensor.dtype) descr = spec.descr;
  }
  if (descr == nullptr) {
    return Error(Reason::kUnsupported, "tensor \"" + tensor.name + "\" is " +
                                           SafetensorsName(tensor.dtype) +
                                           ", which numpy has no type for; widen it to F32");
  }
  std::string dict = std::string("{'descr': '") + descr +
                     "', 'fortran_order': False, 'shape': " + ShapeTuple(tensor.shape) + ", }";
  const size_t before = static_cast<size_t>(kNpyMagicBytes) + 2;
  while ((before + dict.size() + 1) % kDataAlignment != 0) dict += ' ';
  dict += '\n';
  std::string out(kMagic);
  out += '\x01';
  out += '\0';
  out += static_cast<char>(dict.size() & 0xff);
  out += static_cast<char>(dict.size() >> 8);
  return out + dict;
}

}  // namespace lfm2
