// lfm2ctl version
#include "client/verbs/verbs.h"

namespace lfm2 {

void AddVersion(CLI::App& app, Session& session) {
  app.add_subcommand("version", "Version of this program and of the protocol")
      ->callback([&session] {
        session.action = [&session] {
          const std::string& version = session.options.version;
          if (session.table())
            return WriteLine(session.console, "lfm2ctl " + version + " (lfm2.v1)");
          return WriteJson(session.console, {{"version", version}, {"protocol", "lfm2.v1"}});
        };
      });
}

}  // namespace lfm2
