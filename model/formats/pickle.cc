#include "model/formats/pickle.h"

#include <algorithm>
#include <unordered_map>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

using Kind = PickleValue::Kind;

constexpr size_t kMaxValues = 2'000'000;  // 65,536 tensors take about 20 each
constexpr char kOrderedDict[] = "collections OrderedDict";
constexpr char kRebuildTensor[] = "torch._utils _rebuild_tensor_v2";
constexpr char kRebuildParameter[] = "torch._utils _rebuild_parameter";

// The known globals; the name of a storage gives its dtype.
constexpr const char* kGlobals[] = {
    kOrderedDict,         kRebuildTensor,       kRebuildParameter,       "torch DoubleStorage",
    "torch FloatStorage", "torch HalfStorage",  "torch BFloat16Storage", "torch LongStorage",
    "torch IntStorage",   "torch ShortStorage", "torch CharStorage",     "torch ByteStorage",
    "torch BoolStorage",
};

class Interpreter {
 public:
  Interpreter(std::string_view file, std::string_view bytes) : file_(file), bytes_(bytes) {}

  absl::StatusOr<Pickle> Run() {
    while (!stopped_) {
      opcode_offset_ = position_;
      std::string_view opcode;
      LFM2_RETURN_IF_ERROR(Take(1, &opcode));
      LFM2_RETURN_IF_ERROR(Step(static_cast<unsigned char>(opcode.front())));
    }
    if (stack_.size() != 1) return Invalid("pickle does not end with one value");
    pickle_.root = stack_.back();
    return std::move(pickle_);
  }

 private:
  absl::Status Step(unsigned char opcode) {
    switch (opcode) {
      case 0x80:  // PROTO
        return Skip(1);
      case 0x95:  // FRAME
        return Skip(8);
      case '.':
        stopped_ = true;
        return absl::OkStatus();
      case '(':
        marks_.push_back(stack_.size());
        return absl::OkStatus();
      case 'N':
        return Push({});
      case 0x88:
        return PushInteger(Kind::kBool, 1);
      case 0x89:
        return PushInteger(Kind::kBool, 0);
      case 'J':
        return PushNumber(4);
      case 'K':
        return PushNumber(1);
      case 'M':
        return PushNumber(2);
      case 0x8a:
        return PushLong();
      case 'G':
        LFM2_RETURN_IF_ERROR(Skip(8));  // tensors do not need the values of floats
        return PushInteger(Kind::kFloat, 0);
      case 'U':
      case 0x8c:
        return PushString(1);
      case 'T':
      case 'X':
        return PushString(4);
      case 0x8d:
        return PushString(8);
      default:
        return StepContainer(opcode);
    }
  }

  absl::Status StepContainer(unsigned char opcode) {
    switch (opcode) {
      case '}':
        return PushContainer(Kind::kDict, {});
      case ']':
        return PushContainer(Kind::kList, {});
      case ')':
        return PushContainer(Kind::kTuple, {});
      case 0x85:
        return PushTuple(1);
      case 0x86:
        return PushTuple(2);
      case 0x87:
        return PushTuple(3);
      case 't':
        return PushMarkedTuple();
      case 's':
        return SetItems(2);
      case 'a':
        return Append(1);
      case 'u': {
        LFM2_ASSIGN_OR_RETURN(const size_t count, PopMark());
        return SetItems(count);
      }
      case 'e': {
        LFM2_ASSIGN_OR_RETURN(const size_t count, PopMark());
        return Append(count);
      }
      default:
        return StepGlobal(opcode);
    }
  }

  absl::Status StepGlobal(unsigned char opcode) {
    switch (opcode) {
      case 'q':
        return PutMemo(1);
      case 'r':
        return PutMemo(4);
      case 0x94:
        return PutMemoAt(memo_.size());
      case 'h':
        return GetMemo(1);
      case 'j':
        return GetMemo(4);
      case 'c':
        return GlobalFromLines();
      case 0x93:
        return GlobalFromStack();
      case 'Q':
        return PersistentId();
      case 'R':
        return Reduce();
      case 'b':
        return Build();
      default:
        return Invalid("opcode " + std::to_string(opcode) +
                       " does not belong to a dict of tensors");
    }
  }

  absl::Status Invalid(std::string_view rule) const {
    return FileInvalid(file_, static_cast<int64_t>(opcode_offset_), rule);
  }

  absl::Status Take(size_t count, std::string_view* out) {
    if (count > bytes_.size() - position_) return Invalid("pickle ends in the middle of an opcode");
    *out = bytes_.substr(position_, count);
    position_ += count;
    return absl::OkStatus();
  }

  absl::Status Skip(size_t count) {
    std::string_view ignored;
    return Take(count, &ignored);
  }

  absl::StatusOr<uint64_t> TakeUnsigned(size_t bytes) {
    std::string_view text;
    LFM2_RETURN_IF_ERROR(Take(bytes, &text));
    uint64_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(text[i]);
    return value;
  }

  absl::Status Push(PickleValue value) {
    if (pickle_.values.size() >= kMaxValues) {
      return Invalid("pickle has more values than the limit of " + std::to_string(kMaxValues));
    }
    stack_.push_back(static_cast<PickleRef>(pickle_.values.size()));
    pickle_.values.push_back(std::move(value));
    return absl::OkStatus();
  }

  absl::Status PushInteger(Kind kind, int64_t integer) {
    PickleValue value;
    value.kind = kind;
    value.integer = integer;
    return Push(std::move(value));
  }

  absl::Status PushNumber(size_t bytes) {
    LFM2_ASSIGN_OR_RETURN(const uint64_t value, TakeUnsigned(bytes));
    // Only BININT is signed.
    return PushInteger(Kind::kInt,
                       bytes == 4 ? static_cast<int32_t>(value) : static_cast<int64_t>(value));
  }

  absl::Status PushLong() {
    LFM2_ASSIGN_OR_RETURN(const uint64_t length, TakeUnsigned(1));
    if (length > 8) return Invalid("integer does not fit in 64 bits");
    LFM2_ASSIGN_OR_RETURN(uint64_t value, TakeUnsigned(length));
    const bool negative = length > 0 && (value >> (8 * length - 1) & 1) != 0;
    if (negative && length < 8) value |= ~uint64_t{0} << (8 * length);
    return PushInteger(Kind::kInt, static_cast<int64_t>(value));
  }

  absl::Status PushString(size_t length_bytes) {
    LFM2_ASSIGN_OR_RETURN(const uint64_t length, TakeUnsigned(length_bytes));
    std::string_view text;
    LFM2_RETURN_IF_ERROR(Take(length, &text));
    PickleValue value;
    value.kind = Kind::kString;
    value.text = text;
    return Push(std::move(value));
  }

  absl::Status PushContainer(Kind kind, std::vector<PickleRef> items) {
    PickleValue value;
    value.kind = kind;
    value.items = std::move(items);
    return Push(std::move(value));
  }

  // The number of values above the innermost mark; an opcode may not reach below it.
  size_t Available() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  absl::StatusOr<std::vector<PickleRef>> Pop(size_t count) {
    if (count > Available()) return Invalid("pickle's stack has too few values");
    std::vector<PickleRef> out(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return out;
  }

  // Removes the innermost mark and returns how many values are above it.
  absl::StatusOr<size_t> PopMark() {
    if (marks_.empty()) return Invalid("pickle's stack has no mark");
    const size_t count = Available();
    marks_.pop_back();
    return count;
  }

  absl::Status PushTuple(size_t count) {
    LFM2_ASSIGN_OR_RETURN(std::vector<PickleRef> items, Pop(count));
    return PushContainer(Kind::kTuple, std::move(items));
  }

  absl::Status PushMarkedTuple() {
    LFM2_ASSIGN_OR_RETURN(const size_t count, PopMark());
    return PushTuple(count);
  }

  absl::Status Extend(size_t count, Kind kind) {
    LFM2_ASSIGN_OR_RETURN(const std::vector<PickleRef> items, Pop(count));
    if (Available() == 0 || pickle_.values[stack_.back()].kind != kind) {
      return Invalid("pickle adds items to a value that cannot hold any");
    }
    std::vector<PickleRef>& target = pickle_.values[stack_.back()].items;
    target.insert(target.end(), items.begin(), items.end());
    return absl::OkStatus();
  }

  absl::Status SetItems(size_t count) {
    if (count % 2 != 0) return Invalid("pickle sets a key without a value");
    return Extend(count, Kind::kDict);
  }

  absl::Status Append(size_t count) { return Extend(count, Kind::kList); }

  absl::Status PutMemo(size_t bytes) {
    LFM2_ASSIGN_OR_RETURN(const uint64_t key, TakeUnsigned(bytes));
    return PutMemoAt(key);
  }

  absl::Status PutMemoAt(uint64_t key) {
    if (Available() == 0) return Invalid("pickle's stack has too few values");
    memo_[key] = stack_.back();
    return absl::OkStatus();
  }

  absl::Status GetMemo(size_t bytes) {
    LFM2_ASSIGN_OR_RETURN(const uint64_t key, TakeUnsigned(bytes));
    const auto it = memo_.find(key);
    if (it == memo_.end()) return Invalid("pickle refers to a value that it never stored");
    // A reference costs a stack entry and later an item, so it counts like a value.
    if (++references_ > kMaxValues) return Invalid("pickle has too many references");
    stack_.push_back(it->second);
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> TakeLine() {
    const size_t end = bytes_.find('\n', position_);
    if (end == std::string_view::npos) return Invalid("pickle ends in the middle of a global");
    std::string line(bytes_.substr(position_, end - position_));
    position_ = end + 1;
    return line;
  }

  absl::Status GlobalFromLines() {
    LFM2_ASSIGN_OR_RETURN(const std::string module, TakeLine());
    LFM2_ASSIGN_OR_RETURN(const std::string name, TakeLine());
    return PushGlobal(module + " " + name);
  }

  absl::Status GlobalFromStack() {
    LFM2_ASSIGN_OR_RETURN(const std::vector<PickleRef> parts, Pop(2));
    const PickleValue& module = pickle_.values[parts[0]];
    const PickleValue& name = pickle_.values[parts[1]];
    if (module.kind != Kind::kString || name.kind != Kind::kString) {
      return Invalid("a global's name is not a string");
    }
    return PushGlobal(module.text + " " + name.text);
  }

  absl::Status PushGlobal(const std::string& name) {
    if (std::find(std::begin(kGlobals), std::end(kGlobals), name) == std::end(kGlobals)) {
      return Invalid("global \"" + name.substr(0, 128) +
                     "\" is refused: only tensors in dicts, lists and tuples are read");
    }
    PickleValue value;
    value.kind = Kind::kGlobal;
    value.text = name;
    return Push(std::move(value));
  }

  absl::Status PersistentId() {
    LFM2_ASSIGN_OR_RETURN(const std::vector<PickleRef> id, Pop(1));
    const PickleValue& tuple = pickle_.values[id[0]];
    const auto kind_of = [&](size_t i) { return pickle_.values[tuple.items[i]].kind; };
    if (tuple.kind != Kind::kTuple || tuple.items.size() != 5 || kind_of(0) != Kind::kString ||
        pickle_.values[tuple.items[0]].text != "storage" || kind_of(1) != Kind::kGlobal ||
        kind_of(2) != Kind::kString || kind_of(3) != Kind::kString || kind_of(4) != Kind::kInt) {
      return Invalid("persistent id is not ('storage', type, key, location, elements)");
    }
    return PushContainer(Kind::kStorage, std::vector<PickleRef>(tuple.items));
  }

  absl::Status Reduce() {
    LFM2_ASSIGN_OR_RETURN(const std::vector<PickleRef> call, Pop(2));
    const PickleValue& callee = pickle_.values[call[0]];
    const PickleValue& arguments = pickle_.values[call[1]];
    if (callee.kind != Kind::kGlobal || arguments.kind != Kind::kTuple) {
      return Invalid("pickle calls something that is not a known global");
    }
    if (callee.text == kOrderedDict && arguments.items.empty()) {
      return PushContainer(Kind::kDict, {});
    }
    if (callee.text == kRebuildTensor && arguments.items.size() >= 6) {
      return PushContainer(Kind::kTensor, std::vector<PickleRef>(arguments.items));
    }
    if (callee.text == kRebuildParameter && arguments.items.size() == 3 &&
        pickle_.values[arguments.items[0]].kind == Kind::kTensor) {
      stack_.push_back(arguments.items[0]);
      return absl::OkStatus();
    }
    return Invalid("\"" + callee.text +
                   "\" is called with arguments that torch.save does not write");
  }

  // Attributes of an OrderedDict (state_dict's _metadata) are not about tensors.
  absl::Status Build() {
    LFM2_RETURN_IF_ERROR(Pop(1).status());
    if (Available() > 0 && pickle_.values[stack_.back()].kind == Kind::kDict) {
      return absl::OkStatus();
    }
    return Invalid("pickle gives attributes to something that is not a dict");
  }

  std::string_view file_;
  std::string_view bytes_;
  size_t position_ = 0;
  size_t opcode_offset_ = 0;
  bool stopped_ = false;
  Pickle pickle_;
  std::vector<PickleRef> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::unordered_map<uint64_t, PickleRef> memo_;
  size_t references_ = 0;
};

}  // namespace

absl::StatusOr<Pickle> ParsePickle(std::string_view file, std::string_view bytes) {
  return Interpreter(file, bytes).Run();
}

}  // namespace lfm2
