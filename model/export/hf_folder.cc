#include "model/export/hf_folder.h"

#include "base/file.h"
#include "base/file_kinds.h"
#include "base/status_macros.h"
#include "model/formats/safetensors.h"
#include "model/tokenizer/load_tokenizer.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {
namespace {

absl::Status WriteTensors(std::span<const TensorView> tensors,
                          const std::filesystem::path& directory) {
  // transformers refuses a file whose metadata does not name the framework.
  return WriteSafetensors(directory / "model.safetensors", tensors, {{"format", "pt"}});
}

absl::Status CopyGguf(const std::filesystem::path& gguf, const std::filesystem::path& directory) {
  LFM2_ASSIGN_OR_RETURN(const std::shared_ptr<const MappedFile> file, MappedFile::Open(gguf));
  LFM2_ASSIGN_OR_RETURN(std::unique_ptr<FileWriter> out,
                        FileWriter::Create(directory / "model.gguf"));
  LFM2_RETURN_IF_ERROR(out->Append(
      {reinterpret_cast<const char*>(file->data()), static_cast<size_t>(file->size())}));
  return out->Close();
}

}  // namespace

absl::Status WriteHfFolder(const HfFolderContent& content, const std::filesystem::path& directory) {
  LFM2_RETURN_IF_ERROR(
      WriteFileDurably(directory / kModelConfigFile, ModelConfigToJson(content.config)));
  LFM2_RETURN_IF_ERROR(content.gguf.empty() ? WriteTensors(content.tensors, directory)
                                            : CopyGguf(content.gguf, directory));
  if (content.tokenizer_dir.empty()) return absl::OkStatus();
  return CopyTokenizerFiles(content.tokenizer_dir, directory);
}

}  // namespace lfm2
