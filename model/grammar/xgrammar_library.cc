#include "model/grammar/xgrammar_library.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/operator_new/work_limit.h"
#include "base/program_folder.h"
#include "base/program_library.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

namespace fs = std::filesystem;

constexpr char kFfiName[] = "libtvm_ffi.so";
constexpr char kXgrammarName[] = "libxgrammar_bindings.so";
constexpr char kTypePrefix[] = "xgrammar.tvm_ffi_binding.";
// Deeper recursion inside xgrammar becomes an error of the library instead of a stack overflow.
constexpr int64_t kMaxRecursion = 1000;

decltype(&TVMFFIObjectDecRef) g_object_dec_ref = nullptr;  // set once, before the first Value

struct LibraryFiles {
  fs::path ffi, xgrammar;
};

std::vector<LibraryFiles> Candidates() {
  // The environment does not change after the program's start.
  if (const char* named = std::getenv("LFM2_XGRAMMAR_DIR")) {  // NOLINT(concurrency-mt-unsafe)
    return {{fs::path(named) / kFfiName, fs::path(named) / kXgrammarName}};
  }
  const fs::path beside = ProgramFolder() / ".." / "grammar";
  const fs::path wheels = LFM2_WHEELS_DIR;
  return {{beside / kFfiName, beside / kXgrammarName},
          {wheels / "tvm_ffi" / "lib" / kFfiName, wheels / "xgrammar" / kXgrammarName}};
}

absl::Status Unusable(absl::string_view why) {
  return Error(Reason::kUnsupported, absl::StrCat("structured output is not available: ", why));
}

TVMFFIByteArray ViewOf(std::string_view text) { return {text.data(), text.size()}; }

// Finds methods of the registered types; remembers whether one was missing.
class Finder {
 public:
  explicit Finder(void* ffi) {
    whole_ = FindFunction(ffi, "TVMFFITypeKeyToIndex", type_key_to_index_) &&
             FindFunction(ffi, "TVMFFIGetTypeInfo", get_type_info_) &&
             FindFunction(ffi, "TVMFFIFunctionGetGlobal", get_global_);
  }

  XgrammarLibrary::Function Global(std::string_view name) {
    TVMFFIObjectHandle function = nullptr;
    const TVMFFIByteArray view = ViewOf(name);
    whole_ = whole_ && get_global_(&view, &function) == 0 && function != nullptr;
    return function;
  }

  XgrammarLibrary::Function Method(const std::string& type, std::string_view name) {
    const std::string key = kTypePrefix + type;
    const TVMFFIByteArray view = ViewOf(key);
    int32_t index = 0;
    if (!whole_ || type_key_to_index_(&view, &index) != 0) return Missing();
    const TVMFFITypeInfo* info = get_type_info_(index);
    if (info == nullptr) return Missing();
    for (int32_t i = 0; i < info->num_methods; ++i) {
      const TVMFFIMethodInfo& method = info->methods[i];
      if (std::string_view(method.name.data, method.name.size) != name) continue;
      if (method.method.type_index != kTVMFFIFunction) return Missing();
      return method.method.v_obj;
    }
    return Missing();
  }

  bool whole() const { return whole_; }

 private:
  XgrammarLibrary::Function Missing() {
    whole_ = false;
    return nullptr;
  }

  bool whole_ = false;
  decltype(&TVMFFITypeKeyToIndex) type_key_to_index_ = nullptr;
  decltype(&TVMFFIGetTypeInfo) get_type_info_ = nullptr;
  decltype(&TVMFFIFunctionGetGlobal) get_global_ = nullptr;
};

// Checks that the library was built with the layouts in c_api.h.
bool IsOurVersion(void* ffi) {
  decltype(&TVMFFIGetVersion) get_version = nullptr;
  if (!FindFunction(ffi, "TVMFFIGetVersion", get_version)) return false;
  TVMFFIVersion version{};
  get_version(&version);
  return version.major == TVM_FFI_VERSION_MAJOR && version.minor == TVM_FFI_VERSION_MINOR &&
         version.patch == TVM_FFI_VERSION_PATCH;
}

bool FindFunctions(void* ffi, XgrammarLibrary& out) {
  Finder find(ffi);
  if (!find.whole()) return false;
  out.make_array = find.Global("ffi.Array");
  out.set_max_recursion_depth =
      find.Global("xgrammar.tvm_ffi_binding.config.set_max_recursion_depth");
  out.make_tokenizer_info = find.Method("TokenizerInfo", "__ffi_init__");
  out.make_compiler = find.Method("GrammarCompiler", "__ffi_init__");
  out.compile_json_schema = find.Method("GrammarCompiler", "compile_json_schema");
  out.compile_regex = find.Method("GrammarCompiler", "compile_regex");
  out.compile_ebnf = find.Method("GrammarCompiler", "compile_grammar_from_strings");
  out.grammar_bytes = find.Method("CompiledGrammar", "memory_size_bytes");
  out.make_matcher = find.Method("GrammarMatcher", "__ffi_init__");
  out.fill_mask = find.Method("GrammarMatcher", "fill_next_token_bitmask");
  out.accept_token = find.Method("GrammarMatcher", "accept_token");
  out.rollback = find.Method("GrammarMatcher", "rollback");
  out.is_terminated = find.Method("GrammarMatcher", "is_terminated");
  out.is_completed = find.Method("GrammarMatcher", "is_completed");
  return find.whole() && FindFunction(ffi, "TVMFFIFunctionCall", out.function_call) &&
         FindFunction(ffi, "TVMFFIErrorMoveFromRaised", out.error_move_from_raised) &&
         FindFunction(ffi, "TVMFFIStringFromByteArray", out.string_from_byte_array) &&
         FindFunction(ffi, "TVMFFIBytesFromByteArray", out.bytes_from_byte_array) &&
         FindFunction(ffi, "TVMFFIObjectDecRef", g_object_dec_ref);
}

absl::StatusOr<XgrammarLibrary> Load() {
  std::error_code error;
  for (const LibraryFiles& files : Candidates()) {
    if (!fs::exists(files.ffi, error) || !fs::exists(files.xgrammar, error)) continue;
    // In this order: the second one needs the first and finds it because it is open already.
    const absl::StatusOr<void*> ffi = OpenLibrary(files.ffi.string());
    if (!ffi.ok()) return Unusable(ffi.status().message());
    if (!IsOurVersion(*ffi)) return Unusable(absl::StrCat(kFfiName, " has another version"));
    const absl::StatusOr<void*> xgrammar = OpenLibrary(files.xgrammar.string());
    if (!xgrammar.ok()) return Unusable(xgrammar.status().message());
    XgrammarLibrary library{};
    if (!FindFunctions(*ffi, library)) {
      return Unusable(absl::StrCat(kXgrammarName, " has another version"));
    }
    WorkLimit::Watch(*xgrammar);
    const TVMFFIAny depth = XgrammarInt(kMaxRecursion);
    LFM2_RETURN_IF_ERROR(library.Call(library.set_max_recursion_depth, {&depth, 1}).status());
    return library;
  }
  return Unusable(absl::StrCat(kXgrammarName, " is not in the program's folder"));
}

// "[12:34:56] /a/b.cc:12: What is wrong" without the first two.
std::string_view WithoutPlace(std::string_view message) {
  if (message.starts_with("[")) {
    const size_t end = message.find("] ");
    if (end != std::string_view::npos) message.remove_prefix(end + 2);
  }
  const size_t place = message.find(".cc:");
  const size_t header = message.find(".h:");
  const size_t file = std::min(place, header);
  if (message.starts_with("/") && file != std::string_view::npos) {
    const size_t end = message.find(": ", file);
    if (end != std::string_view::npos) message.remove_prefix(end + 2);
  }
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) {
    message.remove_suffix(1);
  }
  return message;
}

}  // namespace

XgrammarValue::~XgrammarValue() {
  if (is_object()) g_object_dec_ref(any_.v_obj);
}

TVMFFIAny XgrammarInt(int64_t value) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIInt;
  any.v_int64 = value;
  return any;
}

TVMFFIAny XgrammarBool(bool value) {
  TVMFFIAny any = XgrammarInt(value ? 1 : 0);
  any.type_index = kTVMFFIBool;
  return any;
}

TVMFFIAny XgrammarTensor(DLTensor& tensor) {
  TVMFFIAny any{};
  any.type_index = kTVMFFIDLTensorPtr;
  any.v_ptr = &tensor;
  return any;
}

absl::StatusOr<XgrammarValue> XgrammarLibrary::Call(Function function,
                                                    std::span<const TVMFFIAny> args) const {
  TVMFFIAny result{};
  // The arguments are only read.
  if (function_call(function, const_cast<TVMFFIAny*>(args.data()),
                    static_cast<int32_t>(args.size()), &result) == 0) {
    return XgrammarValue(result);
  }
  TVMFFIObjectHandle raised = nullptr;
  error_move_from_raised(&raised);
  if (raised == nullptr) return absl::InvalidArgumentError("an error without a message");
  const TVMFFIErrorCell* cell = TVMFFIErrorGetCellPtr(raised);
  const std::string message(WithoutPlace({cell->message.data, cell->message.size}));
  g_object_dec_ref(raised);
  return absl::InvalidArgumentError(message);
}

absl::StatusOr<XgrammarValue> XgrammarLibrary::Text(std::string_view text) const {
  const TVMFFIByteArray view = ViewOf(text);
  TVMFFIAny any{};
  if (string_from_byte_array(&view, &any) == 0) return XgrammarValue(any);
  return Error(Reason::kOutOfMemory, "not enough memory for the grammar");
}

absl::StatusOr<XgrammarValue> XgrammarLibrary::Bytes(std::string_view bytes) const {
  const TVMFFIByteArray view = ViewOf(bytes);
  TVMFFIAny any{};
  if (bytes_from_byte_array(&view, &any) == 0) return XgrammarValue(any);
  return Error(Reason::kOutOfMemory, "not enough memory for the vocabulary");
}

absl::StatusOr<const XgrammarLibrary*> XgrammarLibrary::Open() {
  static const absl::StatusOr<XgrammarLibrary>* const library =
      new absl::StatusOr<XgrammarLibrary>(Load());
  if (!library->ok()) return library->status();
  return &**library;
}

}  // namespace lfm2
