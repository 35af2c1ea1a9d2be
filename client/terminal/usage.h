// Messages about arguments that the parser did not accept. Thread rule: pure. `app` is lfm2ctl's,
// after a parse.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <set>
#include <string>

namespace lfm2 {

// Names the first unknown verb, flag or word and the closest known one; nullopt when all are known.
// `flags_with_value`: see FlagsWithValue.
std::optional<std::string> UnknownArgument(const CLI::App& app,
                                           const std::set<std::string>& flags_with_value);

// Says that a verb is missing and lists the verbs; nullopt when one was given.
std::optional<std::string> MissingVerb(const CLI::App& app);

// "`lfm2ctl train start --help` lists the flags.", for the given verb.
std::string HelpHint(const CLI::App& app);

}  // namespace lfm2
