#include "model/formats/torch_pt.h"

#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>

#include "base/errors.h"
#include "base/file.h"
#include "base/limits.h"
#include "base/status_macros.h"
#include "model/formats/format_error.h"
#include "model/formats/pickle.h"
#include "model/formats/zip_reader.h"

namespace lfm2 {
namespace {

using Kind = PickleValue::Kind;
using Buffer = ZipReader::Buffer;

constexpr int64_t kMaxPickleBytes = 64 << 20;
constexpr int64_t kMaxNoteBytes = 4096;
constexpr int kMaxDepth = 64;
constexpr size_t kMaxVisits = 1'000'000;
constexpr size_t kMaxDimensions = 16;

struct StorageSpec {
  const char* global;
  DType dtype;
};

constexpr StorageSpec kStorages[] = {
    {"torch DoubleStorage", DType::kF64}, {"torch FloatStorage", DType::kF32},
    {"torch HalfStorage", DType::kF16},   {"torch BFloat16Storage", DType::kBF16},
    {"torch LongStorage", DType::kI64},   {"torch IntStorage", DType::kI32},
    {"torch ShortStorage", DType::kI16},  {"torch CharStorage", DType::kI8},
    {"torch ByteStorage", DType::kU8},    {"torch BoolStorage", DType::kBool},
};

struct Members {
  std::optional<Buffer> pickle;
  std::map<std::string, std::shared_ptr<const Buffer>> storages;
};

// "archive/data/0" is storage "0"; all members must be in the same folder.
absl::Status TakeMember(ZipReader& zip, const std::string& name, Members& members) {
  const size_t slash = name.find('/');
  const std::string inner = slash == std::string::npos ? "" : name.substr(slash + 1);
  if (inner == "data.pkl") {
    if (members.pickle) return zip.Invalid("is a second data.pkl");
    LFM2_ASSIGN_OR_RETURN(members.pickle, zip.ReadRest(kMaxPickleBytes));
  } else if (inner == "byteorder") {
    LFM2_ASSIGN_OR_RETURN(const Buffer order, zip.ReadRest(kMaxNoteBytes));
    const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
    if (text != "little") return zip.Invalid("is not \"little\": big-endian tensors are not read");
  } else if (inner.rfind("data/", 0) == 0) {
    LFM2_ASSIGN_OR_RETURN(Buffer data, zip.ReadRest(INT64_MAX));
    auto shared = std::make_shared<const Buffer>(std::move(data));
    if (!members.storages.emplace(inner.substr(5), std::move(shared)).second) {
      return zip.Invalid("appears twice");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Members> ReadMembers(std::string_view file, std::span<const std::byte> bytes) {
  if (bytes.size() < 2 || std::memcmp(bytes.data(), "PK", 2) != 0) {
    return FileInvalid(file, 0,
                       "is not a zip: torch.save writes one since PyTorch 1.6; load and save it "
                       "again with that version");
  }
  LFM2_ASSIGN_OR_RETURN(ZipReader zip, ZipReader::Open(file, bytes));
  Members members;
  while (true) {
    LFM2_ASSIGN_OR_RETURN(const std::optional<std::string> name, zip.NextMember());
    if (!name) break;
    LFM2_RETURN_IF_ERROR(TakeMember(zip, *name, members));
  }
  if (!members.pickle) return FileInvalid(file, 0, "has no data.pkl: not written by torch.save");
  return members;
}

struct Layout {
  int64_t offset = 0;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
};

bool IsRowMajor(const Layout& layout) {
  int64_t expected = 1;
  for (size_t i = layout.shape.size(); i-- > 0;) {
    if (layout.shape[i] != 1 && layout.strides[i] != expected) return false;
    expected *= layout.shape[i];  // in range: the whole product was checked
  }
  return true;
}

// Element by element in row-major order, from the strided source.
void CopyStrided(const Layout& layout, int64_t element, const std::byte* from, std::byte* to) {
  std::vector<int64_t> index(layout.shape.size(), 0);
  int64_t source = layout.offset;
  while (true) {
    std::memcpy(to, from + source * element, static_cast<size_t>(element));
    to += element;
    size_t axis = layout.shape.size();
    while (axis-- > 0) {
      source += layout.strides[axis];
      if (++index[axis] < layout.shape[axis]) break;
      source -= layout.strides[axis] * layout.shape[axis];
      index[axis] = 0;
    }
    if (axis == static_cast<size_t>(-1)) return;
  }
}

// Walks the pickle's values and creates named tensors from them.
class Collector {
 public:
  Collector(std::string_view file, const Pickle& pickle, Members& members, int64_t copy_budget)
      : file_(file), pickle_(pickle), members_(members), copy_budget_(copy_budget) {}

  absl::StatusOr<TensorArchive> Run() {
    LFM2_RETURN_IF_ERROR(Visit(pickle_.root, "", 0));
    if (!skipped_.empty()) archive_.metadata["skipped"] = skipped_;
    return std::move(archive_);
  }

 private:
  const PickleValue& At(PickleRef ref) const { return pickle_.values[ref]; }

  absl::Status Invalid(const std::string& name, std::string_view rule) const {
    return FileInvalid(file_, 0, "tensor \"" + name.substr(0, 128) + "\" " + std::string(rule));
  }

  // Recursion is bounded by kMaxDepth; shared values are bounded by kMaxVisits.
  absl::Status Visit(PickleRef ref, const std::string& name, int depth) {
    if (depth > kMaxDepth) return FileInvalid(file_, 0, "values are nested deeper than 64");
    if (++visits_ > kMaxVisits) return FileInvalid(file_, 0, "has too many values");
    const PickleValue& value = At(ref);
    switch (value.kind) {
      case Kind::kTensor:
        return AddTensor(value, name);
      case Kind::kDict:
        return VisitDict(value, name, depth);
      case Kind::kList:
      case Kind::kTuple:
        for (size_t i = 0; i < value.items.size(); ++i) {
          LFM2_RETURN_IF_ERROR(Visit(value.items[i], Join(name, std::to_string(i)), depth + 1));
        }
        return absl::OkStatus();
      default:
        return Skip(name);
    }
  }

  absl::Status VisitDict(const PickleValue& dict, const std::string& name, int depth) {
    for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
      const PickleValue& key = At(dict.items[i]);
      if (key.kind != Kind::kString && key.kind != Kind::kInt) {
        return FileInvalid(file_, 0, "a dict has a key that is neither string nor integer");
      }
      const std::string part = key.kind == Kind::kString ? key.text : std::to_string(key.integer);
      LFM2_RETURN_IF_ERROR(Visit(dict.items[i + 1], Join(name, part), depth + 1));
    }
    return absl::OkStatus();
  }

  static std::string Join(const std::string& prefix, const std::string& part) {
    return prefix.empty() ? part : prefix + "." + part;
  }

  absl::Status Skip(const std::string& name) {
    if (skipped_.size() + name.size() > kMaxSkippedBytes) {
      return FileInvalid(file_, 0, "has too many values that are not tensors");
    }
    if (!skipped_.empty()) skipped_ += ", ";
    skipped_ += name;
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<int64_t>> Integers(PickleRef ref, const std::string& name) const {
    const PickleValue& tuple = At(ref);
    if (tuple.kind != Kind::kTuple || tuple.items.size() > kMaxDimensions) {
      return Invalid(name, "has a shape or strides that are not a tuple of up to 16 integers");
    }
    std::vector<int64_t> out;
    for (PickleRef item : tuple.items) {
      if (At(item).kind != Kind::kInt || At(item).integer < 0) {
        return Invalid(name, "has a dimension or stride that is not an integer from 0");
      }
      out.push_back(At(item).integer);
    }
    return out;
  }

  absl::StatusOr<Layout> ReadLayout(const PickleValue& tensor, const std::string& name) const {
    Layout layout;
    const PickleValue& offset = At(tensor.items[1]);
    if (offset.kind != Kind::kInt || offset.integer < 0) return Invalid(name, "has a wrong offset");
    layout.offset = offset.integer;
    LFM2_ASSIGN_OR_RETURN(layout.shape, Integers(tensor.items[2], name));
    LFM2_ASSIGN_OR_RETURN(layout.strides, Integers(tensor.items[3], name));
    if (layout.shape.size() != layout.strides.size()) {
      return Invalid(name, "does not have as many strides as dimensions");
    }
    return layout;
  }

  struct Storage {
    DType dtype = DType::kF32;
    int64_t elements = 0;
    std::shared_ptr<const Buffer> data;
  };

  absl::StatusOr<Storage> FindStorage(const PickleValue& tensor, const std::string& name) const {
    const PickleValue& id = At(tensor.items[0]);
    if (id.kind != Kind::kStorage) return Invalid(name, "has no storage");
    Storage storage;
    const std::string& global = At(id.items[1]).text;
    bool known = false;
    for (const StorageSpec& spec : kStorages) {
      if (global != spec.global) continue;
      storage.dtype = spec.dtype;
      known = true;
    }
    if (!known) return Invalid(name, "has a storage of the type \"" + global + "\"");
    const std::string& key = At(id.items[2]).text;
    const auto it = members_.storages.find(key);
    if (it == members_.storages.end()) {
      return Invalid(name, "needs storage \"" + key.substr(0, 64) + "\", which the file lacks");
    }
    storage.elements = At(id.items[4]).integer;
    int64_t bytes = 0;
    if (storage.elements < 0 || !CheckedMul(storage.elements, SizeOf(storage.dtype), &bytes) ||
        bytes != static_cast<int64_t>(it->second->size())) {
      return Invalid(name, "says that its storage has " + std::to_string(storage.elements) +
                               " elements of " + SafetensorsName(storage.dtype) + "; it has " +
                               std::to_string(it->second->size()) + " bytes");
    }
    storage.data = it->second;
    return storage;
  }

  // Checks that the last element of the layout is inside the storage.
  absl::Status CheckLayout(const Layout& layout, const Storage& storage,
                           const std::string& name) const {
    int64_t last = layout.offset;
    for (size_t i = 0; i < layout.shape.size(); ++i) {
      int64_t reach = 0;
      if (!CheckedMul(layout.shape[i] - 1, layout.strides[i], &reach) ||
          !CheckedAdd(last, reach, &last)) {
        return Invalid(name, "has strides that overflow");
      }
    }
    if (last < storage.elements) return absl::OkStatus();
    return Invalid(name, "reaches element " + std::to_string(last) + " of a storage with " +
                             std::to_string(storage.elements));
  }

  absl::Status AddTensor(const PickleValue& value, const std::string& name) {
    LFM2_ASSIGN_OR_RETURN(const Layout layout, ReadLayout(value, name));
    LFM2_ASSIGN_OR_RETURN(const Storage storage, FindStorage(value, name));
    const absl::StatusOr<int64_t> elements = ElementsOf(layout.shape);
    TensorView view;
    if (!elements.ok() || !CheckedMul(*elements, SizeOf(storage.dtype), &view.bytes)) {
      return Invalid(name, "of shape " + ShapeToString(layout.shape) + " is too large");
    }
    view.name = name;
    view.dtype = storage.dtype;
    view.shape = layout.shape;
    if (*elements > 0) {
      LFM2_RETURN_IF_ERROR(CheckLayout(layout, storage, name));
      LFM2_RETURN_IF_ERROR(PlaceData(layout, storage, view));
    }
    if (!names_.insert(name).second) return Invalid(name, "appears twice");
    if (static_cast<int64_t>(names_.size()) > kDefaultLimits.tensors_per_file) {
      return FileInvalid(
          file_, 0,
          "has more tensors than the limit of " + std::to_string(kDefaultLimits.tensors_per_file));
    }
    archive_.tensors.push_back(std::move(view));
    return absl::OkStatus();
  }

  absl::Status PlaceData(const Layout& layout, const Storage& storage, TensorView& view) {
    const int64_t element = SizeOf(storage.dtype);
    if (IsRowMajor(layout)) {
      view.data = storage.data->data() + layout.offset * element;
      if (kept_.insert(storage.data.get()).second) archive_.owners.push_back(storage.data);
      return absl::OkStatus();
    }
    // A stride of 0 can make a small file large, so the copied bytes are limited by the file's
    // size.
    if (view.bytes > copy_budget_)
      return Invalid(view.name, "expands to more bytes than the limit");
    copy_budget_ -= view.bytes;
    auto copy = std::make_shared<Buffer>(static_cast<size_t>(view.bytes));
    CopyStrided(layout, element, storage.data->data(), copy->data());
    view.data = copy->data();
    archive_.owners.push_back(std::move(copy));
    return absl::OkStatus();
  }

  static constexpr size_t kMaxSkippedBytes = 1 << 20;

  std::string_view file_;
  const Pickle& pickle_;
  Members& members_;
  int64_t copy_budget_;
  size_t visits_ = 0;
  std::string skipped_;
  std::set<std::string> names_;
  std::set<const Buffer*> kept_;
  TensorArchive archive_;
};

bool AllBelow(const TensorArchive& archive, const std::string& prefix) {
  for (const TensorView& tensor : archive.tensors) {
    if (tensor.name.rfind(prefix, 0) != 0) return false;
  }
  return !archive.tensors.empty();
}

// Every name in a state dict also begins with "model.", so it is a wrapper only if the names below
// it begin with "model." again.
bool IsWrapper(const TensorArchive& archive, const std::string& prefix) {
  if (!AllBelow(archive, prefix)) return false;
  if (prefix != "model.") return true;
  for (const TensorView& tensor : archive.tensors) {
    const std::string inner = tensor.name.substr(prefix.size());
    if (inner.rfind("model.", 0) == 0) return true;
  }
  return false;
}

void StripWrapper(TensorArchive& archive) {
  for (const char* wrapper : {"state_dict", "model_state_dict", "model"}) {
    const std::string prefix = std::string(wrapper) + ".";
    if (!IsWrapper(archive, prefix)) continue;
    for (TensorView& tensor : archive.tensors) tensor.name.erase(0, prefix.size());
    return;
  }
}

}  // namespace

absl::StatusOr<TensorArchive> ParseTorchPt(std::string_view file_name,
                                           std::span<const std::byte> bytes) {
  LFM2_ASSIGN_OR_RETURN(Members members, ReadMembers(file_name, bytes));
  const std::string_view text(reinterpret_cast<const char*>(members.pickle->data()),
                              members.pickle->size());
  LFM2_ASSIGN_OR_RETURN(const Pickle pickle, ParsePickle(file_name, text));
  int64_t copy_budget = 0;
  if (!CheckedMul(static_cast<int64_t>(bytes.size()), kDefaultLimits.archive_ratio, &copy_budget)) {
    copy_budget = INT64_MAX;
  }
  LFM2_ASSIGN_OR_RETURN(TensorArchive archive,
                        Collector(file_name, pickle, members, copy_budget).Run());
  StripWrapper(archive);
  return archive;
}

absl::StatusOr<TensorArchive> ReadTorchPt(const std::filesystem::path& path) {
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::string name = path.filename().string();
  return ParseTorchPt(name, {file->data(), static_cast<size_t>(file->size())});
}

}  // namespace lfm2
