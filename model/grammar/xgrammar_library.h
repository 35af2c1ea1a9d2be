// xgrammar's shared library, opened once and called through the C ABI of TVM FFI: the values,
// objects and methods that this folder needs. An exception of the library becomes a Status with its
// message.
//
// Thread rule: XgrammarLibrary is const after Open and is never destroyed; a Value belongs to one
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

// Owns what one TVMFFIAny refers to. Empty by default.
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
  bool is_true() const { return any_.v_int64 != 0; }  // for a bool
  int64_t integer() const { return any_.v_int64; }    // for an int
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

  // Calls a function. On failure kInvalidArgument with the library's message, without its source
  // location; the caller adds the context.
  absl::StatusOr<XgrammarValue> Call(Function function, std::span<const TVMFFIAny> args) const;
  absl::StatusOr<XgrammarValue> Text(std::string_view text) const;
  absl::StatusOr<XgrammarValue> Bytes(std::string_view bytes) const;

  // Opens the library in the folder that LFM2_XGRAMMAR_DIR names, else in ../grammar beside the
  // running program's folder, else where the build found the wheels. kUnsupported when it does not
  // exist or has a version that this program does not support.
  static absl::StatusOr<const XgrammarLibrary*> Open();

  decltype(&TVMFFIFunctionCall) function_call;
  decltype(&TVMFFIErrorMoveFromRaised) error_move_from_raised;
  decltype(&TVMFFIStringFromByteArray) string_from_byte_array;
  decltype(&TVMFFIBytesFromByteArray) bytes_from_byte_array;
};

}  // namespace lfm2
