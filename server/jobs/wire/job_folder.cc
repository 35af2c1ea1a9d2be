#include "server/jobs/wire/job_folder.h"

#include <string>
#include <system_error>
#include <vector>

namespace lfm2 {
namespace {

bool IsRunFile(const std::string& name) {
  if (name.starts_with(".tmp-") || name.ends_with(".tmp")) return true;
  return name == kResultFolder || name == kInitFolder || name == kSourceFolder ||
         name == kTokenizerFolder || name == "tokens.bin";
}

}  // namespace

void RemoveRunFiles(const std::filesystem::path& job_dir) {
  std::error_code error;
  std::vector<std::filesystem::path> doomed;
  std::filesystem::directory_iterator it(job_dir, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    if (IsRunFile(it->path().filename().string())) doomed.push_back(it->path());
  }
  for (const auto& path : doomed) std::filesystem::remove_all(path, error);
}

void RemoveExport(const std::filesystem::path& job_dir) {
  std::error_code error;
  std::filesystem::remove_all(job_dir / kExportFolder, error);
}

}  // namespace lfm2
