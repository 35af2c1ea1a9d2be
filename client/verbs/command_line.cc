#include "client/verbs/command_line.h"

#include <cstdlib>
#include <ostream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/flags/flags.h"
#include "client/terminal/failure.h"
#include "client/terminal/usage.h"
#include "client/verbs/verbs.h"

namespace lfm2 {
namespace {

constexpr char kFooter[] =
    "Dashes and underscores in flag names are the same: --data-path is --data_path.\n"
    "Exit codes: 0 ok, 1 failed result, 2 usage, 3 not found, 4 denied, 5 invalid input, 6 "
    "unavailable,\n"
    "7 full, 8 deadline, 9 conflict, 70 internal, 78 config, 130 interrupted.";

void AddGlobalFlags(CLI::App& app, Session& session) {
  ClientOptions& options = session.options;
  TextFlag(app, "--server", "Address of lfm2d: HOST:PORT or unix:PATH [127.0.0.1:7070]",
           [&](const std::string& value) { options.server = value; })
      ->envname("LFM2CTL_SERVER");
  app.add_flag("--tls", options.tls, "Use TLS with the system's certificate authorities");
  TextFlag(app, "--tls_ca", "PEM file of the authorities to trust; turns TLS on",
           [&](const std::string& value) { options.tls_ca = value; })
      ->envname("LFM2CTL_TLS_CA");
  TextFlag(app, "--tls_cert", "PEM file of this client's certificate",
           [&](const std::string& value) { options.tls_cert = value; })
      ->envname("LFM2CTL_TLS_CERT");
  TextFlag(app, "--tls_key", "PEM file of this client's key", [&](const std::string& value) {
    options.tls_key = value;
  })->envname("LFM2CTL_TLS_KEY");
  TextFlag(app, "--token_file", "File with the bearer token", [&](const std::string& value) {
    options.token_file = value;
  })->envname("LFM2CTL_TOKEN_FILE");
  NumberFlag(app, "--timeout", "Seconds that a call may take [60; streams: no limit]",
             [&](double value) { options.timeout_s = value; });
  TextFlag(app, "-o,--output", "table, json (one object) or jsonl (one object per line) [table]",
           [&](const std::string& value) {
             session.output = value == "json"    ? OutputFormat::kJson
                              : value == "jsonl" ? OutputFormat::kJsonl
                                                 : OutputFormat::kTable;
           })
      ->check(CLI::IsMember({"table", "json", "jsonl"}));
  app.add_flag("-q,--quiet", session.console.quiet, "Show no progress and no remarks");
  app.add_flag("-v,--verbose", session.verbose, "Show every line of long reports");
  app.add_flag_callback(
      "--no_color", [&] { session.console.color = false; },
      "Do not use colours; NO_COLOR does the same");
}

// The error for a variable of an earlier release, when neither its flag nor its new name is given:
// ignoring it could mean calling another server, or the same one without protection. LFM2_TLS_CERT
// and LFM2_TLS_KEY are not checked, because they name the daemon's own pair. Empty: no such
// variable.
std::string RenamedVariable(const CLI::App& app) {
  for (const auto& [flag, name] : {std::pair("--server", "SERVER"), std::pair("--tls_ca", "TLS_CA"),
                                   std::pair("--token_file", "TOKEN_FILE")}) {
    const std::string old = absl::StrCat("LFM2_", name);
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change
    const char* value = std::getenv(old.c_str());
    if (value == nullptr || *value == '\0' || app.get_option(flag)->count() > 0) continue;
    return absl::StrCat(old, " is not read any more: name it LFM2CTL_", name);
  }
  return "";
}

// The flag may be at any position, and is needed even when the arguments cannot be parsed.
bool WantsJson(const std::vector<std::string>& arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string next = i + 1 < arguments.size() ? arguments[i + 1] : "";
    if ((arguments[i] == "-o" || arguments[i] == "--output") && next.rfind("json", 0) == 0)
      return true;
    if (arguments[i].rfind("--output=json", 0) == 0 || arguments[i].rfind("-ojson", 0) == 0)
      return true;
  }
  return false;
}

int Report(const absl::Status& status, bool json, Console& console, const std::string& hint = "") {
  Failure failure = FailureOf(status);
  if (failure.exit_code == kExitUsage) failure.fix = hint;
  if (json) {
    console.err << DumpJson(FailureToJson(failure)) << "\n" << std::flush;
  } else {
    console.err << RenderFailure(failure, console) << std::flush;
  }
  return failure.exit_code;
}

int Finish(const absl::Status& status, const CLI::App& app, Session& session) {
  if (status.ok() || IsOutputClosed(status)) return kExitOk;
  return Report(status, !session.table(), session.console, HelpHint(app));
}

int RunAction(const CLI::App& app, Session& session) {
  const absl::Status status = session.action();
  if (session.interrupts.raised()) {
    Remark(session.console, "interrupted");
    return kExitInterrupted;
  }
  return Finish(status, app, session);
}

std::string UsageProblem(const CLI::App& app, const CLI::ParseError& error,
                         const std::set<std::string>& flags_with_value) {
  if (const auto unknown = UnknownArgument(app, flags_with_value)) return *unknown;
  const bool verb_is_due = dynamic_cast<const CLI::RequiredError*>(&error) != nullptr;
  return (verb_is_due ? MissingVerb(app) : std::nullopt).value_or(error.what());
}

}  // namespace

std::unique_ptr<CLI::App> MakeApp(Session& session) {
  auto app = std::make_unique<CLI::App>("Client of lfm2d: generate, train, export.", "lfm2ctl");
  app->require_subcommand(1);
  app->fallthrough();
  app->footer(kFooter);
  AddGlobalFlags(*app, session);
  AddGenerate(*app, session);
  AddChat(*app, session);
  AddScore(*app, session);
  AddTokenize(*app, session);
  AddDetokenize(*app, session);
  AddTrain(*app, session);
  AddDataset(*app, session);
  AddModel(*app, session);
  AddExport(*app, session);
  AddParity(*app, session);
  AddHealth(*app, session);
  AddErrors(*app, session);
  AddCompletion(*app, session);
  AddVersion(*app, session);
  return app;
}

int RunCommandLine(const std::vector<std::string>& arguments, const CommandLine& command_line) {
  Console& console = command_line.console;
  Session session(console, command_line.interrupts);
  session.options.version = command_line.version;
  try {
    const std::unique_ptr<CLI::App> app = MakeApp(session);
    app->set_version_flag("--version", "lfm2ctl " + command_line.version);
    const std::set<std::string> flags_with_value = FlagsWithValue(*app);
    std::vector<std::string> normal = NormalizeArguments(arguments, flags_with_value);
    const auto refuse = [&](const std::string& problem) {
      return Report(UsageError(problem), WantsJson(normal), console, HelpHint(*app));
    };
    try {
      std::vector<std::string> reversed(normal.rbegin(), normal.rend());
      app->parse(std::move(reversed));
    } catch (const CLI::Success& done) {  // --help, --version
      if (const auto unknown = UnknownArgument(*app, flags_with_value)) return refuse(*unknown);
      std::ostringstream text;
      app->exit(done, text, console.err);
      return Finish(Write(console, text.str()), *app, session);
    } catch (const CLI::ParseError& error) {
      return refuse(UsageProblem(*app, error, flags_with_value));
    }
    session.environment_problem = RenamedVariable(*app);
    return RunAction(*app, session);
  } catch (const std::exception& error) {
    return Report(Error(Reason::kInternal, std::string("exception: ") + error.what()),
                  !session.table(), console);
  }
}

}  // namespace lfm2
