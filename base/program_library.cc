#include "base/program_library.h"

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/program_folder.h"

namespace lfm2 {
namespace {

absl::StatusOr<void*> Open(const std::string& name, const std::string& path, int flags) {
  if (void* library = dlopen(path.c_str(), flags)) return library;
  const char* why = dlerror();  // NOLINT(concurrency-mt-unsafe): glibc keeps it by thread
  return Error(Reason::kUnsupported,
               absl::StrCat(name, " cannot be opened: ", why != nullptr ? why : "no reason given"));
}

}  // namespace

absl::StatusOr<void*> OpenLibrary(const std::string& path, int flags) {
  return Open(std::filesystem::path(path).filename().string(), path, flags);
}

absl::StatusOr<void*> OpenProgramLibrary(const char* file_name, const char* variable, int flags) {
  // The environment does not change after the program's start.
  const char* named = std::getenv(variable);  // NOLINT(concurrency-mt-unsafe)
  return Open(file_name, named != nullptr ? named : (ProgramFolder() / file_name).string(), flags);
}

}  // namespace lfm2
