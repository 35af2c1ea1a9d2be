// Where what belongs to this program stands: its worker, the libraries that it opens at run time.
//
// Thread rule: any thread.
#pragma once

#include <filesystem>

namespace lfm2 {

// The folder of the running program; empty where the system does not say.
std::filesystem::path ProgramFolder();

}  // namespace lfm2
