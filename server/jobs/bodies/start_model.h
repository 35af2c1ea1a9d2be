// The model that a job begins with: which weights, which config, which tokenizer. Shared by init,
// training and their plan. Thread rule: synchronous. The weights are mapped files: cheap until they
// are read.
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

// Every dataset that the spec names, in DatasetStore's layout under `root`.
DatasetPaths DatasetPathsUnder(const std::filesystem::path& root, const JobSpec& spec);
// kDatasetNotFound.
absl::StatusOr<std::filesystem::path> PathOfDataset(const DatasetPaths& paths,
                                                    const std::string& dataset);

// Weights from a folder or from uploaded files, which get their names in `link_dir`. nullopt for no
// source: fresh weights.
absl::StatusOr<std::optional<ModelFolder>> OpenSource(const SourceSpec& source,
                                                      const DatasetPaths& paths,
                                                      const std::filesystem::path& link_dir);

struct StartModel {
  std::optional<ModelFolder> source;  // nullopt: fresh
  ModelConfig config;                 // of the model that is made
  ConversionSpec conversion;
  std::shared_ptr<const Tokenizer>
      tokenizer;                        // null for a model whose whole vocabulary is the 256 bytes
  std::filesystem::path tokenizer_dir;  // its files; empty when there is none
  // the source is a whole folder of this very model: nothing is to be made
  bool stored_as_it_is = false;
};

// The tokenizer is the one asked for, else the source's, else bytes. kFlagContradictsModel,
// kConfigInvalid; kTokenizerMismatch when it has more ids than the model's vocabulary, or when a
// training job asks for another one than the model's own. Work files go to `work_dir`.
absl::StatusOr<StartModel> ResolveStartModel(const JobSpec& spec, const DatasetPaths& paths,
                                             const std::filesystem::path& work_dir);

// Makes the model's folder at `destination`, which is absent, the old one, or whole. `may_publish`
// is asked before it appears: kWorkerHung when it says no.
absl::StatusOr<ConversionReport> MakeModel(const StartModel& start,
                                           const std::filesystem::path& destination,
                                           const std::function<void(int64_t, int64_t)>& progress,
                                           const std::function<bool()>& may_publish);

}  // namespace lfm2
