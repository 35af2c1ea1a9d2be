// Opens shared libraries at run time; the program's own ones are in its folder.
//
// Thread rule: any thread. An opened library stays open for the life of the process.
#pragma once

#include <dlfcn.h>

#include <string>

#include "absl/status/statusor.h"

namespace lfm2 {

// kUnsupported, with what the linker says, when `path` cannot be opened.
absl::StatusOr<void*> OpenLibrary(const std::string& path, int flags = RTLD_NOW | RTLD_LOCAL);

// The file that the environment variable `variable` names, else `file_name` in ProgramFolder().
absl::StatusOr<void*> OpenProgramLibrary(const char* file_name, const char* variable,
                                         int flags = RTLD_NOW | RTLD_LOCAL);

// False, and `out` is null, when the library has no function of that name.
template <typename Function>
bool FindFunction(void* library, const char* name, Function& out) {
  out = reinterpret_cast<Function>(dlsym(library, name));
  return out != nullptr;
}

}  // namespace lfm2
