// Flags that call setters, so that an unset flag stays unset in the request. Dashes and underscores
// in names are the same: flags are registered with underscores, and arguments are converted to that
// form before parsing. Thread rule: one thread. What a setter captures must outlive the parse.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lfm2 {

// `names` in CLI11's form: "-f,--file". A value that is not a number of the type is a usage error
// that says what is needed. The server checks narrower ranges.
CLI::Option* TextFlag(CLI::App& app, const std::string& names, const std::string& help,
                      std::function<void(const std::string&)> set);
CLI::Option* TextsFlag(CLI::App& app, const std::string& names, const std::string& help,
                       std::function<void(const std::string&)> add);  // may be repeated
CLI::Option* IntFlag(CLI::App& app, const std::string& names, const std::string& help,
                     std::function<void(int64_t)> set);
CLI::Option* UintFlag(CLI::App& app, const std::string& names, const std::string& help,
                      std::function<void(uint64_t)> set);
CLI::Option* NumberFlag(CLI::App& app, const std::string& names, const std::string& help,
                        std::function<void(double)> set);
// "--name", "--name=false" and "--no_name".
CLI::Option* SwitchFlag(CLI::App& app, const std::string& name, const std::string& help,
                        std::function<void(bool)> set);
// "1,2,3"; see ParseIds.
CLI::Option* IdsFlag(CLI::App& app, const std::string& names, const std::string& help,
                     std::function<void(std::vector<int32_t>)> set);

// The content of the file that a flag names. kFileNotFound, also for a folder; else as ReadStream.
absl::StatusOr<std::string> ReadFlagFile(const char* flag, const std::string& path, int64_t limit);
// All of `in`, which errors call `what`. kMessageTooLarge when it has more than `limit` bytes,
// after which reading stops; kStorageIoError.
absl::StatusOr<std::string> ReadStream(std::istream& in, const std::string& what, int64_t limit);

// Numbers separated by commas or white space; an empty text has no ids. kInvalidArgument, naming
// the position of a word that is missing or not an id.
absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text);

// The names, without leading dashes, of all flags of `app` and its verbs that take a value,
// including single letters.
std::set<std::string> FlagsWithValue(const CLI::App& app);

// `--data-path=x` becomes `--data_path=x`, and `--prompt=` becomes `--prompt ""`. Values, and all
// arguments after `--`, are not changed.
std::vector<std::string> NormalizeArguments(const std::vector<std::string>& arguments,
                                            const std::set<std::string>& flags_with_value);

}  // namespace lfm2
