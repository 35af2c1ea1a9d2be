// lfm2ctl completion: shell scripts, generated from the tree of verbs and flags.
#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/flags/flags.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

struct Word {
  std::string text;
  std::string help;
};

struct Command {
  std::vector<std::string> path;  // empty: lfm2ctl itself
  std::vector<Word> verbs;
  std::vector<Word> flags;  // "--name"
};

void Walk(const CLI::App& app, std::vector<std::string> path, std::vector<Command>& commands) {
  Command command{path, {}, {}};
  const auto children =
      app.get_subcommands([](const CLI::App* child) { return !child->get_name().empty(); });
  for (const CLI::App* child : children)
    command.verbs.push_back({child->get_name(), child->get_description()});
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      command.flags.push_back({"--" + name, option->get_description()});
    }
  }
  commands.push_back(std::move(command));
  for (const CLI::App* child : children) {
    path.push_back(child->get_name());
    Walk(*child, path, commands);
    path.pop_back();
  }
}

std::string Words(const std::vector<Word>& words) {
  return absl::StrJoin(words, " ",
                       [](std::string* out, const Word& word) { out->append(word.text); });
}

std::string PathOf(const Command& command) { return absl::StrJoin(command.path, " "); }

// One function for both shells: follows the verbs before the cursor, then lists the possible next
// words.
std::string PosixCases(const std::vector<Command>& commands) {
  std::string follow, list;
  for (const Command& command : commands) {
    const std::string path = PathOf(command);
    if (!command.path.empty()) follow += "      '" + path + "') path=\"$next\" ;;\n";
    list += "    '" + path + "') words='" + Words(command.verbs) + " " + Words(command.flags) +
            " " + (command.path.empty() ? "" : Words(commands.front().flags)) + "' ;;\n";
  }
  return "  for word in $before; do\n    next=\"${path:+$path }$word\"\n    case \"$next\" in\n" +
         follow + "    esac\n  done\n  case \"$path\" in\n" + list + "  esac\n";
}

std::string Bash(const std::vector<Command>& commands) {
  return "# bash completion of lfm2ctl: source <(lfm2ctl completion bash)\n"
         "_lfm2ctl() {\n  local path='' next='' word='' words=''\n"
         "  local before=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\"\n" +
         PosixCases(commands) +
         "  COMPREPLY=($(compgen -W \"$words\" -- \"${COMP_WORDS[COMP_CWORD]}\"))\n}\n"
         "complete -o default -F _lfm2ctl lfm2ctl\n";
}

std::string Zsh(const std::vector<Command>& commands) {
  std::string cases = PosixCases(commands);
  cases = absl::StrReplaceAll(cases, {{"in $before;", "in ${=before};"}});
  return "#compdef lfm2ctl\n# zsh completion of lfm2ctl: source <(lfm2ctl completion zsh)\n"
         "_lfm2ctl() {\n  local path_='' next='' word='' list=''\n"
         "  local before=\"${words[2,CURRENT-1]}\"\n" +
         absl::StrReplaceAll(cases, {{"${path:+$path }", "${path_:+$path_ }"},
                                     {"\"$path\"", "\"$path_\""},
                                     {"path=\"$next\"", "path_=\"$next\""},
                                     {"words='", "list='"}}) +
         "  compadd -- ${=list} || _files\n}\ncompdef _lfm2ctl lfm2ctl\n";
}

std::string FishQuote(const std::string& text) {
  return "'" + absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}) + "'";
}

std::string Fish(const std::vector<Command>& commands) {
  std::string text = "# fish completion of lfm2ctl: lfm2ctl completion fish | source\n";
  for (const Command& command : commands) {
    const std::string condition =
        command.path.empty()
            ? ""
            : absl::StrCat("__fish_seen_subcommand_from ",
                           absl::StrJoin(command.path, "; and __fish_seen_subcommand_from "));
    const std::string condition_and = condition.empty() ? "" : absl::StrCat(condition, "; and ");
    std::string no_verb;
    if (!command.verbs.empty()) {
      no_verb =
          absl::StrCat(condition_and, "not __fish_seen_subcommand_from ", Words(command.verbs));
    }
    for (const Word& verb : command.verbs) {
      absl::StrAppend(&text, "complete -c lfm2ctl -f -n ", FishQuote(no_verb), " -a ", verb.text,
                      " -d ", FishQuote(verb.help), "\n");
    }
    for (const Word& flag : command.flags) {
      text += "complete -c lfm2ctl " +
              (condition.empty() ? "" : "-n " + FishQuote(condition) + " ") + "-l " +
              flag.text.substr(2) + " -d " + FishQuote(flag.help) + "\n";
    }
  }
  return text;
}

absl::Status Run(Session& session, const CLI::App& app, const std::string& shell) {
  std::vector<Command> commands;
  Walk(app, {}, commands);
  if (shell == "bash") return Write(session.console, Bash(commands));
  return Write(session.console, shell == "zsh" ? Zsh(commands) : Fish(commands));
}

}  // namespace

void AddCompletion(CLI::App& app, Session& session) {
  CLI::App* verb = app.add_subcommand("completion", "Completion script for a shell");
  const auto shell = std::make_shared<std::string>();
  TextFlag(*verb, "SHELL", "bash, zsh or fish", [shell](const std::string& v) { *shell = v; })
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->callback([&app, &session, shell] {
    session.action = [&app, &session, shell] { return Run(session, app, *shell); };
  });
}

}  // namespace lfm2
