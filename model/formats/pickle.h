// Reads a pickle as data. Supports the opcodes of nested dicts, lists, tuples, strings, numbers and
// the few globals that torch.save writes for tensors; any other opcode or global is refused by
// name. Nothing is ever executed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace lfm2 {

using PickleRef = uint32_t;  // index into Pickle::values

struct PickleValue {
  enum class Kind : uint8_t {
    kNone,
    kBool,
    kInt,
    kFloat,
    kString,
    kTuple,
    kList,
    kDict,     // items: key, value, key, value, …
    kGlobal,   // text: "module name"
    kStorage,  // items: the five of ('storage', type, key, location, elements)
    kTensor,   // items: the arguments of _rebuild_tensor_v2
  };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  std::string text;
  std::vector<PickleRef> items;
};

// Values refer to each other by index. They may be shared or even contain themselves, so limit the
// depth and number of visits when walking them.
struct Pickle {
  std::vector<PickleValue> values;
  PickleRef root = 0;
};

// kModelFileInvalid with the offset in the pickle.
absl::StatusOr<Pickle> ParsePickle(std::string_view file, std::string_view bytes);

}  // namespace lfm2
