#include "model/grammar/grammar_compiler.h"

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "base/operator_new/work_limit.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "model/grammar/grammar_object.h"
#include "model/grammar/token_guard.h"

namespace lfm2 {
namespace {

constexpr int64_t kRawVocabulary = 0;  // xgrammar's VocabType: each token is its bytes
constexpr int64_t kCompileThreads = 1;
constexpr char kRootRule[] = "root";
constexpr int64_t kMaxWhiteSpace = 64;  // between JSON tokens, so a model cannot pad without end
constexpr TVMFFIAny kNone{};

absl::StatusOr<XgrammarValue> ArrayOf(const XgrammarLibrary& library,
                                      const std::vector<TVMFFIAny>& items) {
  return library.Call(library.make_array, items);
}

// An id without text (special, or not in the vocabulary) has no bytes; the library never allows it.
absl::StatusOr<XgrammarValue> VocabularyOf(const XgrammarLibrary& library,
                                           const Tokenizer& tokenizer, int64_t vocab_size) {
  std::vector<XgrammarValue> tokens;
  std::vector<TVMFFIAny> views;
  tokens.reserve(static_cast<size_t>(vocab_size));
  views.reserve(static_cast<size_t>(vocab_size));
  for (int64_t id = 0; id < vocab_size; ++id) {
    const std::string bytes = tokenizer.TokenBytes(static_cast<int32_t>(id), true, false);
    LFM2_ASSIGN_OR_RETURN(XgrammarValue token, library.Bytes(bytes));
    views.push_back(token.view());
    tokens.push_back(std::move(token));
  }
  return ArrayOf(library, views);
}

// For JSON as it is usually written: white space is allowed anywhere, properties are in the
// schema's order, and other properties are not allowed.
absl::StatusOr<XgrammarValue> CompileSchema(const XgrammarLibrary& library,
                                            const TVMFFIAny& compiler, const TVMFFIAny& schema,
                                            const TVMFFIAny& most_white_space) {
  const std::array args = {compiler,           schema,           XgrammarBool(true), kNone, kNone,
                           XgrammarBool(true), most_white_space, XgrammarBool(false)};
  return library.Call(library.compile_json_schema, args);
}

// Shortens the library's message, which may repeat the whole grammar.
absl::Status GrammarError(const GrammarSource& source, std::string_view what) {
  constexpr size_t kShown = 240;
  std::string shown;
  AppendReplacingInvalid(what.substr(0, kShown), Utf8Replacement::kMaximalSubpart, Utf8End::kFinal,
                         shown);
  if (what.size() > kShown) shown += "...";
  return Error(Reason::kGrammarInvalid, std::string(GrammarKindName(source.kind)) + ": " + shown,
               {{"kind", GrammarKindName(source.kind)}});
}

absl::Status TooSlow(const GrammarSource& source, const std::string& limit, const char* unit) {
  return Error(Reason::kGrammarTooSlow,
               std::string(GrammarKindName(source.kind)) + " of " +
                   std::to_string(source.text.size()) + " bytes took more than " + limit + " " +
                   unit + " to compile",
               {{"kind", GrammarKindName(source.kind)},
                {"bytes", std::to_string(source.text.size())},
                {"limit", limit}});
}

}  // namespace

struct GrammarCompiler::Library {
  const XgrammarLibrary& xgrammar;
  XgrammarValue compiler;
  std::shared_ptr<const XgrammarValue> json;  // any JSON
};

GrammarCompiler::GrammarCompiler(std::unique_ptr<Library> library,
                                 std::shared_ptr<const TokenGuard> guard, int64_t vocab_size,
                                 bool has_end)
    : library_(std::move(library)),
      guard_(std::move(guard)),
      vocab_size_(vocab_size),
      has_end_(has_end) {}

GrammarCompiler::~GrammarCompiler() = default;

absl::StatusOr<std::unique_ptr<GrammarCompiler>> GrammarCompiler::Make(
    const Tokenizer& tokenizer, int64_t vocab_size, std::span<const int32_t> end_ids) {
  LFM2_ASSIGN_OR_RETURN(const XgrammarLibrary* xgrammar, XgrammarLibrary::Open());
  LFM2_ASSIGN_OR_RETURN(const XgrammarValue vocabulary,
                        VocabularyOf(*xgrammar, tokenizer, vocab_size));
  std::vector<TVMFFIAny> ends;
  for (const int32_t id : end_ids) {
    if (id >= 0 && id < vocab_size) ends.push_back(XgrammarInt(id));
  }
  LFM2_ASSIGN_OR_RETURN(const XgrammarValue end_array, ArrayOf(*xgrammar, ends));
  const std::array info_args = {vocabulary.view(), XgrammarInt(kRawVocabulary),
                                XgrammarInt(vocab_size), end_array.view(), XgrammarBool(false)};
  LFM2_ASSIGN_OR_RETURN(const XgrammarValue info,
                        xgrammar->Call(xgrammar->make_tokenizer_info, info_args));
  // The library must not cache grammars: GrammarCache does, with a limit on memory.
  const std::array compiler_args = {info.view(), XgrammarInt(kCompileThreads), XgrammarBool(false),
                                    XgrammarInt(-1)};
  LFM2_ASSIGN_OR_RETURN(XgrammarValue compiler,
                        xgrammar->Call(xgrammar->make_compiler, compiler_args));
  LFM2_ASSIGN_OR_RETURN(const XgrammarValue any, xgrammar->Text("{}"));
  LFM2_ASSIGN_OR_RETURN(XgrammarValue json,
                        CompileSchema(*xgrammar, compiler.view(), any.view(), kNone));
  auto library = std::make_unique<Library>(Library{
      *xgrammar, std::move(compiler), std::make_shared<const XgrammarValue>(std::move(json))});
  auto guard = std::make_shared<const TokenGuard>(tokenizer, vocab_size);
  return std::unique_ptr<GrammarCompiler>(
      new GrammarCompiler(std::move(library), std::move(guard), vocab_size, !ends.empty()));
}

absl::StatusOr<std::shared_ptr<const Grammar>> GrammarCompiler::Compile(const GrammarSource& source,
                                                                        const Limits& limits,
                                                                        int64_t most_bytes) const {
  const XgrammarLibrary& xgrammar = library_->xgrammar;
  const TVMFFIAny& compiler = library_->compiler.view();
  LFM2_ASSIGN_OR_RETURN(const XgrammarValue text, xgrammar.Text(source.text));
  absl::StatusOr<XgrammarValue> object = absl::InternalError("");
  std::shared_ptr<const XgrammarValue> json;
  const WorkLimit limit(std::chrono::milliseconds(limits.grammar_compile_ms), most_bytes);
  switch (source.kind) {
    case GrammarKind::kJsonSchema:
      object = CompileSchema(xgrammar, compiler, text.view(), XgrammarInt(kMaxWhiteSpace));
      json = library_->json;
      break;
    case GrammarKind::kRegex: {
      const std::array args = {compiler, text.view()};
      object = xgrammar.Call(xgrammar.compile_regex, args);
      break;
    }
    case GrammarKind::kEbnf: {
      LFM2_ASSIGN_OR_RETURN(const XgrammarValue root, xgrammar.Text(kRootRule));
      const std::array args = {compiler, text.view(), root.view()};
      object = xgrammar.Call(xgrammar.compile_ebnf, args);
      break;
    }
  }
  if (limit.broken() == WorkLimit::Broken::kTime) {
    return TooSlow(source, std::to_string(limits.grammar_compile_ms), "ms");
  }
  if (limit.broken() == WorkLimit::Broken::kBytes) {
    return TooSlow(source, std::to_string(most_bytes), "bytes of memory");
  }
  if (!object.ok()) return GrammarError(source, std::string(object.status().message()));
  auto compiled = std::make_unique<Grammar::Compiled>(
      Grammar::Compiled{xgrammar, *std::move(object), std::move(json)});
  return std::make_shared<const Grammar>(std::move(compiled), guard_, vocab_size_, has_end_);
}

}  // namespace lfm2
