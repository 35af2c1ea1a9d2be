// The verbs of lfm2ctl. Each function adds its subcommand to `app`; parsing it sets session.action.
#pragma once

#include <CLI/CLI.hpp>

#include "client/calls/session.h"

namespace lfm2 {

void AddGenerate(CLI::App& app, Session& session);
void AddChat(CLI::App& app, Session& session);
void AddScore(CLI::App& app, Session& session);
void AddTokenize(CLI::App& app, Session& session);
void AddDetokenize(CLI::App& app, Session& session);
void AddTrain(CLI::App& app, Session& session);
void AddDataset(CLI::App& app, Session& session);
void AddModel(CLI::App& app, Session& session);
void AddExport(CLI::App& app, Session& session);
void AddParity(CLI::App& app, Session& session);
void AddHealth(CLI::App& app, Session& session);
void AddErrors(CLI::App& app, Session& session);
void AddCompletion(CLI::App& app, Session& session);
void AddVersion(CLI::App& app, Session& session);

}  // namespace lfm2
