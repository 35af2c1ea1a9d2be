#include "client/flags.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "model/core/errors.h"

namespace lfm2 {
namespace {

// CLI11's typed options read "[a,b]" and "{}" as lists, so every value comes through a callback as
// it was written.
CLI::Option* RawFlag(CLI::App& app, const std::string& names, const std::string& help,
                     const char* value_name, std::function<bool(const std::string&)> take) {
  CLI::Option* option = app.add_option(
      names,
      [take = std::move(take)](const CLI::results_t& values) {
        return std::all_of(values.begin(), values.end(), take);
      },
      help);
  return option->type_name(value_name)->type_size(1)->expected(1)->allow_extra_args(false);
}

}  // namespace

CLI::Option* TextFlag(CLI::App& app, const std::string& names, const std::string& help,
                      std::function<void(const std::string&)> set) {
  return RawFlag(app, names, help, "TEXT", [set = std::move(set)](const std::string& value) {
    set(value);
    return true;
  });
}

CLI::Option* TextsFlag(CLI::App& app, const std::string& names, const std::string& help,
                       std::function<void(const std::string&)> add) {
  return TextFlag(app, names, help, std::move(add))
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

CLI::Option* IntFlag(CLI::App& app, const std::string& names, const std::string& help,
                     std::function<void(int64_t)> set) {
  return RawFlag(app, names, help, "INT", [set = std::move(set)](const std::string& value) {
    int64_t number = 0;
    if (!absl::SimpleAtoi(value, &number)) return false;
    set(number);
    return true;
  });
}

CLI::Option* UintFlag(CLI::App& app, const std::string& names, const std::string& help,
                      std::function<void(uint64_t)> set) {
  return RawFlag(app, names, help, "UINT", [set = std::move(set)](const std::string& value) {
    uint64_t number = 0;
    if (!absl::SimpleAtoi(value, &number)) return false;
    set(number);
    return true;
  });
}

CLI::Option* NumberFlag(CLI::App& app, const std::string& names, const std::string& help,
                        std::function<void(double)> set) {
  return RawFlag(app, names, help, "NUMBER", [set = std::move(set)](const std::string& value) {
    double number = 0;
    if (!absl::SimpleAtod(value, &number)) return false;
    set(number);
    return true;
  });
}

CLI::Option* SwitchFlag(CLI::App& app, const std::string& name, const std::string& help,
                        std::function<void(bool)> set) {
  return app.add_flag_function(
      "--" + name + ",!--no_" + name, [set = std::move(set)](int64_t count) { set(count > 0); },
      help);
}

absl::StatusOr<std::string> ReadFlagFile(const char* flag, const std::string& path, int64_t limit) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  if (!in || std::filesystem::is_directory(path, error)) {
    return Error(Reason::kFileNotFound, absl::StrCat(flag, ": there is no file ", path));
  }
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (static_cast<int64_t>(text.size()) <= limit) return text;
  return Error(Reason::kMessageTooLarge,
               absl::StrCat(flag, ": ", path, " has ", text.size(), " bytes, limit ", limit));
}

std::optional<std::vector<int32_t>> ParseIds(const std::string& text) {
  std::vector<int32_t> ids;
  for (const absl::string_view part :
       absl::StrSplit(text, absl::ByAnyChar(", "), absl::SkipEmpty())) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(part, &id)) return std::nullopt;
    ids.push_back(id);
  }
  return ids;
}

CLI::Option* IdsFlag(CLI::App& app, const std::string& names, const std::string& help,
                     std::function<void(std::vector<int32_t>)> set) {
  return RawFlag(app, names, help, "ID,ID,...", [set = std::move(set)](const std::string& value) {
    std::optional<std::vector<int32_t>> ids = ParseIds(value);
    if (!ids) return false;
    set(*std::move(ids));
    return true;
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
