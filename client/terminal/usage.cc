#include "client/terminal/usage.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/edit_distance.h"

namespace lfm2 {
namespace {

bool IsFlag(const std::string& argument) { return argument.size() > 1 && argument[0] == '-'; }

const CLI::App& GivenVerb(const CLI::App& app) {
  const CLI::App* verb = &app;
  while (!verb->get_subcommands().empty()) verb = verb->get_subcommands().front();
  return *verb;
}

// "train start"; empty for lfm2ctl itself.
std::string PathOf(const CLI::App& verb) {
  if (verb.get_parent() == nullptr) return "";
  const std::string parent = PathOf(*verb.get_parent());
  return parent.empty() ? verb.get_name() : parent + " " + verb.get_name();
}

std::vector<std::string> VerbsOf(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::App* child : verb.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(child->get_name());
  }
  return names;
}

// The flags that are allowed with `verb`: its own and the global ones.
std::vector<std::string> FlagsOf(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::App* app = &verb; app != nullptr; app = app->get_parent()) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

std::string UnknownFlag(const CLI::App& verb, const std::string& argument) {
  const std::string flag = argument.substr(0, argument.find('='));
  const std::string path = PathOf(verb);
  std::string problem = path.empty() ? "there is no flag " + flag : path + " has no flag " + flag;
  if (flag.rfind("--", 0) != 0) return problem;
  return problem + ": the nearest is " + NearestWord(flag, FlagsOf(verb));
}

std::string UnknownVerb(const CLI::App& verb, const std::string& word) {
  const std::string path = PathOf(verb);
  return absl::StrCat(path.empty() ? "there is" : path + " has", " no verb \"", word,
                      "\": the nearest is ", NearestWord(word, VerbsOf(verb)));
}

}  // namespace

std::optional<std::string> UnknownArgument(const CLI::App& app,
                                           const std::set<std::string>& flags_with_value) {
  const CLI::App& verb = GivenVerb(app);
  const std::vector<std::string> rest = app.remaining(/*recurse=*/true);
  std::optional<std::string> flag, word;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == "--") continue;
    if (!IsFlag(rest[i])) {
      if (!word) word = rest[i];
      continue;
    }
    if (!flag) flag = rest[i];
    // A flag of another verb: the next word is its value.
    if (flags_with_value.count(rest[i].substr(rest[i].find_first_not_of('-'))) != 0) ++i;
  }
  const bool verb_is_due = !VerbsOf(verb).empty();
  if (word && verb_is_due) return UnknownVerb(verb, *word);
  if (flag) return UnknownFlag(verb, *flag);
  if (word) return PathOf(verb) + " takes no \"" + *word + "\"";
  return std::nullopt;
}

std::optional<std::string> MissingVerb(const CLI::App& app) {
  const CLI::App& verb = GivenVerb(app);
  std::vector<std::string> verbs = VerbsOf(verb);
  if (verbs.empty()) return std::nullopt;
  const std::string last = verbs.back();
  verbs.pop_back();
  const std::string path = PathOf(verb);
  return absl::StrCat(path.empty() ? "a verb is needed: " : path + " needs a verb: ",
                      absl::StrJoin(verbs, ", "), verbs.empty() ? "" : " or ", last);
}

std::string HelpHint(const CLI::App& app) {
  const CLI::App& verb = GivenVerb(app);
  const std::string path = PathOf(verb);
  return absl::StrCat("`lfm2ctl ", path.empty() ? path : path + " ", "--help` lists the ",
                      VerbsOf(verb).empty() ? "flags" : "verbs", ".");
}

}  // namespace lfm2
