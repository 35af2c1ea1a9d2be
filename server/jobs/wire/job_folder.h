// The contents of data_dir/jobs/<id>, and when parts of it are removed. Thread rule: any thread,
// but one caller per job.
#pragma once

#include <filesystem>

namespace lfm2 {

// events, before they were kept in the job store
inline constexpr char kOldEventsFile[] = "events.log";
inline constexpr char kWorkerLogFile[] = "worker.log";
inline constexpr char kResultFolder[] = "result";  // the model made by a train or init job
inline constexpr char kExportFolder[] = "export";  // the files made by an export job
inline constexpr char kInitFolder[] =
    "init";  // the initial model of a training run, if it is not a stored one
inline constexpr char kSourceFolder[] = "source";        // uploaded files under their names
inline constexpr char kTokenizerFolder[] = "tokenizer";  // the same for the tokenizer

// Removes the files of an ended job that only its run needed. Keeps checkpoints, events, logs and
// exported files.
void RemoveRunFiles(const std::filesystem::path& job_dir);
void RemoveExport(const std::filesystem::path& job_dir);

}  // namespace lfm2
