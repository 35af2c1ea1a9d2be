// Where the files that belong to this program are: its worker and the libraries that it opens at
// run time.
//
// Thread rule: any thread.
#pragma once

#include <filesystem>

namespace lfm2 {

// The folder of the running program; empty when the system does not tell.
std::filesystem::path ProgramFolder();

}  // namespace lfm2
