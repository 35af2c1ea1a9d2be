// Flags for a model's shape, training and sampling: one for each field of ModelShape, TrainOptions
// and SamplingOptions.
#pragma once

#include <CLI/CLI.hpp>

#include "lfm2/v1/generation.pb.h"
#include "lfm2/v1/training.pb.h"

namespace lfm2 {

void AddShapeFlags(CLI::App& app, v1::ModelShape& shape);
void AddTrainOptionFlags(CLI::App& app, v1::TrainOptions& options);
// Sampling, max_new_tokens, stops, logprobs.
void AddSamplingFlags(CLI::App& app, v1::GenerateRequest& request);
// --model, --load_path: sets the reference; unset means the server's default model.
void AddModelFlag(CLI::App& app, v1::ModelRef& model);
// --local has no effect: the server never asks the network for a model.
void AddLocalFlag(CLI::App& app);

}  // namespace lfm2
