// The model that a job begins with: weights, config and tokenizer. Shared by init, training and
// their plan. Thread rule: synchronous. The weights are mapped files, so opening them is cheap.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "model/arch/model_folder.h"
#include "model/convert/convert.h"
#include "model/tokenizer/tokenizer.h"
#include "server/jobs/wire/job.h"

namespace lfm2 {

using DatasetPaths = std::map<std::string, std::filesystem::path>;  // "sha256:<hex>" to its file

// The path of every dataset in the spec, in DatasetStore's layout under `root`.
DatasetPaths DatasetPathsUnder(const std::filesystem::path& root, const JobSpec& spec);
// kDatasetNotFound.
absl::StatusOr<std::filesystem::path> PathOfDataset(const DatasetPaths& paths,
                                                    const std::string& dataset);

// Opens weights in a folder or in uploaded files, which are linked under their names in `link_dir`.
// nullopt if there is no source: fresh weights.
absl::StatusOr<std::optional<ModelFolder>> OpenSource(const SourceSpec& source,
                                                      const DatasetPaths& paths,
                                                      const std::filesystem::path& link_dir);

struct StartModel {
  std::optional<ModelFolder> source;  // nullopt: fresh
  ModelConfig config;                 // of the new model
  ConversionSpec conversion;
  std::shared_ptr<const Tokenizer> tokenizer;  // null for a model whose vocabulary is the 256 bytes
  std::filesystem::path tokenizer_dir;         // its files; empty if there is no tokenizer
  // the source is a complete folder of this model, so that no conversion is needed
  bool stored_as_it_is = false;
};

// The tokenizer is the requested one, else the source's, else bytes. kFlagContradictsModel,
// kConfigInvalid; kTokenizerMismatch if it has more ids than the model's vocabulary, or if a
// training job requests a different one than the model's own. Writes temporary files to `work_dir`.
absl::StatusOr<StartModel> ResolveStartModel(const JobSpec& spec, const DatasetPaths& paths,
                                             const std::filesystem::path& work_dir);

// Makes the model's folder at `destination`, which is at any time absent, the old one, or complete.
// Calls `may_publish` before publishing: kWorkerHung if that returns false.
absl::StatusOr<ConversionReport> MakeModel(const StartModel& start,
                                           const std::filesystem::path& destination,
                                           const std::function<void(int64_t, int64_t)>& progress,
                                           const std::function<bool()>& may_publish);

}  // namespace lfm2
