#include "model/export/hf_folder.h"

#include "model/core/status_macros.h"
#include "model/formats/file.h"
#include "model/formats/safetensors.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {

absl::Status WriteHfFolder(const HfFolderContent& content, const std::filesystem::path& directory) {
  LFM2_RETURN_IF_ERROR(
      WriteFileDurably(directory / "config.json", ModelConfigToJson(content.config)));
  // transformers refuses a file whose metadata does not name the framework.
  LFM2_RETURN_IF_ERROR(
      WriteSafetensors(directory / "model.safetensors", content.tensors, {{"format", "pt"}}));
  if (content.tokenizer_dir.empty()) return absl::OkStatus();
  return CopyTokenizerFiles(content.tokenizer_dir, directory);
}

}  // namespace lfm2
