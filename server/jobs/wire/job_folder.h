// What lies in data_dir/jobs/<id>, and what of it is removed when. Thread rule: any thread; one
// job, one caller.
#pragma once

#include <filesystem>

namespace lfm2 {

// events, before they stood in the job store
inline constexpr char kOldEventsFile[] = "events.log";
inline constexpr char kWorkerLogFile[] = "worker.log";
inline constexpr char kResultFolder[] = "result";  // the model that a train or init job made
inline constexpr char kExportFolder[] = "export";  // the files that an export job made
inline constexpr char kInitFolder[] =
    "init";  // the model that a training run starts from, when it is not a stored one
inline constexpr char kSourceFolder[] = "source";        // uploaded files under their names
inline constexpr char kTokenizerFolder[] = "tokenizer";  // the same, of the tokenizer

// Of a job that has ended: everything that only its run needed. Checkpoints, events and logs stay,
// and exported files.
void RemoveRunFiles(const std::filesystem::path& job_dir);
void RemoveExport(const std::filesystem::path& job_dir);

}  // namespace lfm2
