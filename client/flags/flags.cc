#include "client/flags/flags.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/errors.h"

namespace lfm2 {
namespace {

// "--prompt" of "-p,--prompt".
std::string LongNameOf(const std::string& names) {
  const size_t start = names.find("--");
  const std::string name = start == std::string::npos ? names : names.substr(start);
  return name.substr(0, name.find(','));
}

// CLI11's typed options parse "[a,b]" and "{}" as lists, so every value goes through a callback as
// it was written. `take` returns what is wrong with a value, as text to follow the flag's name.
CLI::Option* RawFlag(CLI::App& app, const std::string& names, const std::string& help,
                     const char* value_name, std::function<std::string(const std::string&)> take) {
  CLI::Option* option = app.add_option(
      names,
      [take = std::move(take), names](const CLI::results_t& values) {
        for (const std::string& value : values) {
          const std::string problem = take(value);
          if (!problem.empty())
            throw CLI::ConversionError(LongNameOf(names) + problem,
                                       CLI::ExitCodes::ConversionError);
        }
        return true;
      },
      help);
  return option->type_name(value_name)->type_size(1)->expected(1)->allow_extra_args(false);
}

std::string Needed(const std::string& value, const std::string& what) {
  return absl::StrCat(" is \"", value, "\": ", what, " is needed");
}

template <typename T>
std::string WholeNumber() {
  return absl::StrCat("a whole number from ", std::numeric_limits<T>::min(), " to ",
                      std::numeric_limits<T>::max());
}

template <typename T>
CLI::Option* WholeNumberFlag(CLI::App& app, const std::string& names, const std::string& help,
                             const char* value_name, std::function<void(T)> set) {
  return RawFlag(app, names, help, value_name,
                 [set = std::move(set)](const std::string& value) -> std::string {
                   T number = 0;
                   if (!absl::SimpleAtoi(value, &number)) return Needed(value, WholeNumber<T>());
                   set(number);
                   return "";
                 });
}

// Reads at most `limit` + 1 bytes, so that an endless source is detected.
std::string ReadUpTo(std::istream& in, int64_t limit) {
  std::string text;
  std::array<char, 64 << 10> buffer;
  while (in.good() && static_cast<int64_t>(text.size()) <= limit) {
    in.read(buffer.data(), buffer.size());
    text.append(buffer.data(), static_cast<size_t>(in.gcount()));
  }
  return text;
}

}  // namespace

CLI::Option* TextFlag(CLI::App& app, const std::string& names, const std::string& help,
                      std::function<void(const std::string&)> set) {
  return RawFlag(app, names, help, "TEXT", [set = std::move(set)](const std::string& value) {
    set(value);
    return std::string();
  });
}

CLI::Option* TextsFlag(CLI::App& app, const std::string& names, const std::string& help,
                       std::function<void(const std::string&)> add) {
  return TextFlag(app, names, help, std::move(add))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* IntFlag(CLI::App& app, const std::string& names, const std::string& help,
                     std::function<void(int64_t)> set) {
  return WholeNumberFlag(app, names, help, "INT", std::move(set));
}

CLI::Option* UintFlag(CLI::App& app, const std::string& names, const std::string& help,
                      std::function<void(uint64_t)> set) {
  return WholeNumberFlag(app, names, help, "UINT", std::move(set));
}

CLI::Option* NumberFlag(CLI::App& app, const std::string& names, const std::string& help,
                        std::function<void(double)> set) {
  return RawFlag(app, names, help, "NUMBER",
                 [set = std::move(set)](const std::string& value) -> std::string {
                   double number = 0;
                   if (!absl::SimpleAtod(value, &number)) return Needed(value, "a number");
                   set(number);
                   return "";
                 });
}

CLI::Option* SwitchFlag(CLI::App& app, const std::string& name, const std::string& help,
                        std::function<void(bool)> set) {
  return app.add_flag_function(
      "--" + name + ",!--no_" + name, [set = std::move(set)](int64_t count) { set(count > 0); },
      help);
}

absl::StatusOr<std::string> ReadStream(std::istream& in, const std::string& what, int64_t limit) {
  std::string text = ReadUpTo(in, limit);
  if (in.bad()) return Error(Reason::kStorageIoError, what + " cannot be read");
  if (static_cast<int64_t>(text.size()) <= limit) return text;
  return Error(Reason::kMessageTooLarge,
               absl::StrCat(what, " has over ", limit, " bytes, the limit"));
}

absl::StatusOr<std::string> ReadFlagFile(const char* flag, const std::string& path, int64_t limit) {
  const std::string what = absl::StrCat(flag, ": ", path);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) {
    return Error(Reason::kFileNotFound, what + " is a folder, a file is needed");
  }
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  if (!in) return Error(Reason::kFileNotFound, absl::StrCat(what, ": ", strerror(errno)));
  return ReadStream(in, what, limit);
}

absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text) {
  std::vector<int32_t> ids;
  if (absl::StripAsciiWhitespace(text).empty()) return ids;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    if (absl::StripAsciiWhitespace(part).empty()) {
      return Error(Reason::kInvalidArgument, absl::StrCat("id ", ids.size() + 1, " is empty"));
    }
    for (const absl::string_view word :
         absl::StrSplit(part, absl::ByAnyChar(" \t\r\n"), absl::SkipEmpty())) {
      int32_t id = 0;
      if (!absl::SimpleAtoi(word, &id)) {
        return Error(Reason::kInvalidArgument,
                     absl::StrCat("id ", ids.size() + 1, " is \"", word, "\", ",
                                  WholeNumber<int32_t>(), " is needed"));
      }
      ids.push_back(id);
    }
  }
  return ids;
}

CLI::Option* IdsFlag(CLI::App& app, const std::string& names, const std::string& help,
                     std::function<void(std::vector<int32_t>)> set) {
  return RawFlag(app, names, help, "ID,ID,...",
                 [set = std::move(set)](const std::string& value) -> std::string {
                   absl::StatusOr<std::vector<int32_t>> ids = ParseIds(value);
                   if (!ids.ok()) return absl::StrCat(": ", ids.status().message());
                   set(*std::move(ids));
                   return "";
                 });
}

std::set<std::string> FlagsWithValue(const CLI::App& app) {
  std::set<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_expected_max() == 0) continue;
    names.insert(option->get_lnames().begin(), option->get_lnames().end());
    names.insert(option->get_snames().begin(), option->get_snames().end());
  }
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.merge(FlagsWithValue(*child));
  }
  return names;
}

std::vector<std::string> NormalizeArguments(const std::vector<std::string>& arguments,
                                            const std::set<std::string>& flags_with_value) {
  std::vector<std::string> normal;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--") {
      normal.insert(normal.end(), arguments.begin() + static_cast<ptrdiff_t>(i), arguments.end());
      break;
    }
    const bool is_long = argument.size() > 2 && argument.compare(0, 2, "--") == 0;
    const bool is_short = argument.size() == 2 && argument[0] == '-';
    const size_t equals = argument.find('=');
    std::string name = is_long
                           ? argument.substr(2, equals == std::string::npos ? equals : equals - 2)
                           : argument.substr(is_short ? 1 : 0);
    if (is_long) std::replace(name.begin(), name.end(), '-', '_');
    const bool takes_value = (is_long || is_short) && flags_with_value.count(name) != 0;
    if (!is_long) {
      normal.push_back(argument);
    } else if (equals == std::string::npos) {
      normal.push_back("--" + name);
    } else if (equals + 1 == argument.size() && takes_value) {
      normal.push_back("--" + name);
      normal.emplace_back();
      continue;
    } else {
      normal.push_back("--" + name + argument.substr(equals));
    }
    const bool inline_value = is_long && equals != std::string::npos;
    if (takes_value && !inline_value && i + 1 < arguments.size()) normal.push_back(arguments[++i]);
  }
  return normal;
}

}  // namespace lfm2
