#include "model/arch/gguf_model.h"

#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/errors.h"
#include "base/status_macros.h"
#include "model/arch/config_reader.h"
#include "model/arch/gguf_keys.h"
#include "model/arch/registry.h"
#include "model/formats/format_error.h"

namespace lfm2 {
namespace {

constexpr int64_t kMaxLayer = 9999;

absl::StatusOr<const ArchSpec*> SpecOfGguf(std::string_view file, const GgufFile& gguf) {
  const auto it = gguf.metadata.find("general.architecture");
  const bool found = it != gguf.metadata.end();
  for (const ArchSpec* spec : AllArchitectures()) {
    if (found && spec->gguf != nullptr && it->second == spec->gguf) return spec;
  }
  return Error(Reason::kUnsupported,
               std::string(file) + ": general.architecture is " +
                   (found ? ShownValue(it->second) : "missing") + ", must be " +
                   QuotedList(&ArchSpec::gguf, "or"),
               {{"file", std::string(file)}});
}

// Replaces GGUF's names with ours, in place.
absl::Status Rename(std::string_view file, const ArchSpec& spec, TensorArchive& weights) {
  std::set<std::string> names;
  for (TensorView& tensor : weights.tensors) {
    const std::optional<TensorId> id = IdOfGguf(spec.tensors, tensor.name);
    if (!id || id->bias || id->layer > kMaxLayer) {
      return FileInvalid(
          file, 0, "tensor \"" + tensor.name + "\" is not a tensor of " + spec.gguf + " models");
    }
    const std::string ours = NameOf(spec.tensors, *id);
    if (!names.insert(ours).second) {
      return FileInvalid(file, 0, "tensor \"" + tensor.name + "\" is a duplicate of " + ours);
    }
    const bool flat = id->role == Role::kConv && tensor.shape.size() == 2;
    if (flat) tensor.shape.insert(tensor.shape.begin() + 1, 1);
    tensor.name = ours;
  }
  return absl::OkStatus();
}

// llama.cpp rotates neighbouring rows of a head together; transformers rotates row j with row j +
// head_dim / 2. The file has the rows of q and k in llama.cpp's order: its row 2 j + half of a head
// is our row half * head_dim / 2 + j. A row of a block type consists of whole blocks, so rows can
// be moved without decoding them.
absl::Status UndoRowOrder(int64_t heads, int64_t head_dim, TensorView& tensor,
                          TensorArchive& weights) {
  const bool fits = tensor.shape.size() == 2 && tensor.shape[0] == heads * head_dim;
  if (!fits) return absl::OkStatus();  // CheckWeights reports it
  LFM2_ASSIGN_OR_RETURN(const int64_t row, BytesOf(tensor.dtype, {tensor.shape[1]}));
  auto rows = std::make_shared<std::vector<std::byte>>(static_cast<size_t>(tensor.bytes));
  const int64_t half_dim = head_dim / 2;
  for (int64_t to = 0; to < tensor.shape[0]; ++to) {
    const int64_t in_head = to % head_dim;
    const int64_t from = to - in_head + 2 * (in_head % half_dim) + in_head / half_dim;
    std::memcpy(rows->data() + to * row, tensor.data + from * row, static_cast<size_t>(row));
  }
  tensor.data = rows->data();
  weights.owners.push_back(std::move(rows));
  return absl::OkStatus();
}

absl::Status UndoRowOrders(const ModelConfig& config, TensorArchive& weights) {
  for (TensorView& tensor : weights.tensors) {
    const std::optional<TensorId> id = IdOf(config.names(), tensor.name);
    const bool query = id && id->role == Role::kQuery;
    if (!query && !(id && id->role == Role::kKey)) continue;
    LFM2_RETURN_IF_ERROR(
        UndoRowOrder(query ? config.num_attention_heads : config.num_key_value_heads,
                     config.head_dim, tensor, weights));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelConfig> ConfigOf(const ArchSpec& spec, const GgufFile& file) {
  GgufKeys keys(spec, file);
  LFM2_RETURN_IF_ERROR(spec.read_gguf(keys));
  return ParseModelConfig(keys.config().dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

absl::StatusOr<ModelConfig> ModelFromGguf(std::string_view file_name, GgufFile& file) {
  LFM2_ASSIGN_OR_RETURN(const ArchSpec* spec, SpecOfGguf(file_name, file));
  LFM2_RETURN_IF_ERROR(Rename(file_name, *spec, file.weights));
  absl::StatusOr<ModelConfig> config = ConfigOf(*spec, file);
  if (!config.ok()) return Annotate(config.status(), std::string(file_name) + ", metadata");
  if (spec->gguf_pairs_rows) LFM2_RETURN_IF_ERROR(UndoRowOrders(*config, file.weights));
  return config;
}

}  // namespace lfm2
