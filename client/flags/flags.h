// Flags bound to setters, so that an unset flag stays unset in the request. Dashes and underscores
// in names are the same: flags are registered with underscores and arguments are brought to that
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

// `names` as CLI11 takes them: "-f,--file". A value that is no number of the type is a usage error
// that says what is needed; narrower ranges are the server's to judge.
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

// What a flag names as a file. kFileNotFound, also for a folder; else as ReadStream.
absl::StatusOr<std::string> ReadFlagFile(const char* flag, const std::string& path, int64_t limit);
// All of `in`, which errors call `what`. kMessageTooLarge over `limit` bytes, of which no more are
// read; kStorageIoError.
absl::StatusOr<std::string> ReadStream(std::istream& in, const std::string& what, int64_t limit);

// Numbers between commas or white space; none in an empty text. kInvalidArgument names the place of
// what is no id, or is missing.
absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text);

// Every name, without dashes in front, of the flags of `app` and below that take a value; with
// single letters.
std::set<std::string> FlagsWithValue(const CLI::App& app);

// `--data-path=x` becomes `--data_path=x`. Values and all after `--` stay as they are; `--prompt=`
// becomes `--prompt ""`.
std::vector<std::string> NormalizeArguments(const std::vector<std::string>& arguments,
                                            const std::set<std::string>& flags_with_value);

}  // namespace lfm2
