// xgrammar's shared library, opened once and called through the C ABI of TVM FFI: values, objects
// and methods as this folder needs them. What the library throws comes back as a Status with its
// message.
//
// Thread rule: XgrammarLibrary is const after Open and lives for ever; a Value belongs to one
// thread at a time (its reference count is atomic, so const objects may be shared).
#pragma once

#include <tvm/ffi/c_api.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace lfm2 {

// Owns what one TVMFFIAny refers to. Default: none.
class XgrammarValue {
 public:
  XgrammarValue() = default;
  explicit XgrammarValue(TVMFFIAny owned) : any_(owned) {}
  XgrammarValue(XgrammarValue&& other) noexcept : any_(std::exchange(other.any_, TVMFFIAny{})) {}
  XgrammarValue& operator=(XgrammarValue&& other) noexcept {
    std::swap(any_, other.any_);
    return *this;
  }
  XgrammarValue(const XgrammarValue&) = delete;
  XgrammarValue& operator=(const XgrammarValue&) = delete;
  ~XgrammarValue();

  const TVMFFIAny& view() const { return any_; }
  bool is_true() const { return any_.v_int64 != 0; }  // of a bool
  int64_t integer() const { return any_.v_int64; }    // of an int
  bool is_object() const { return any_.type_index >= kTVMFFIStaticObjectBegin; }

 private:
  TVMFFIAny any_{};
};

// Arguments that own nothing.
TVMFFIAny XgrammarInt(int64_t value);
TVMFFIAny XgrammarBool(bool value);
TVMFFIAny XgrammarTensor(DLTensor& tensor);

struct XgrammarLibrary {
  using Function = TVMFFIObjectHandle;  // never freed
  Function make_array, set_max_recursion_depth;
  Function make_tokenizer_info;
  Function make_compiler, compile_json_schema, compile_regex, compile_ebnf;
  Function grammar_bytes;
  Function make_matcher, fill_mask, accept_token, rollback, is_terminated, is_completed;

  // Calls; the message of a failure is the library's, without its place in the source.
  // kInvalidArgument carries it; a caller says what was wrong.
  absl::StatusOr<XgrammarValue> Call(Function function, std::span<const TVMFFIAny> args) const;
  absl::StatusOr<XgrammarValue> Text(std::string_view text) const;
  absl::StatusOr<XgrammarValue> Bytes(std::string_view bytes) const;

  // From the folder that LFM2_XGRAMMAR_DIR names, else ../grammar of the running program's folder,
  // else where the build found the wheels. kUnsupported when it is not there, or is of a version
  // that this program was not made for.
  static absl::StatusOr<const XgrammarLibrary*> Open();

  decltype(&TVMFFIFunctionCall) function_call;
  decltype(&TVMFFIErrorMoveFromRaised) error_move_from_raised;
  decltype(&TVMFFIStringFromByteArray) string_from_byte_array;
  decltype(&TVMFFIBytesFromByteArray) bytes_from_byte_array;
};

}  // namespace lfm2
