// What is wrong with arguments that the parser did not take, in words that name them. Thread rule:
// pure. `app` is lfm2ctl's, after a parse.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <set>
#include <string>

namespace lfm2 {

// The verb, flag or word that nobody took, with the nearest that there is; nothing when all were
// taken. `flags_with_value`: see FlagsWithValue.
std::optional<std::string> UnknownArgument(const CLI::App& app,
                                           const std::set<std::string>& flags_with_value);

// That a verb is missing, and which there are; nothing when it was given.
std::optional<std::string> MissingVerb(const CLI::App& app);

// "`lfm2ctl train start --help` lists the flags.", of the verb that was given.
std::string HelpHint(const CLI::App& app);

}  // namespace lfm2
