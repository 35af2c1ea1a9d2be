// A small lfm2d for the tests of the client: keeps every request, answers what the test has set.
// Thread rule: set it up before the first call; requests may be read between calls.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/sha256.h"
#include "client/verbs/command_line.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lfm2/v1/generation.grpc.pb.h"
#include "lfm2/v1/models.grpc.pb.h"
#include "lfm2/v1/training.grpc.pb.h"

namespace lfm2 {

struct Captured {
  std::vector<v1::GenerateRequest> generate;
  std::vector<v1::ScoreRequest> score;
  std::vector<v1::TokenizeRequest> tokenize;
  std::vector<v1::DetokenizeRequest> detokenize;
  std::vector<v1::StartTrainingRequest> start;
  std::vector<v1::WatchJobRequest> watch;
  std::vector<v1::ListJobsRequest> list_jobs;
  std::vector<std::string> cancel, get_job, get_model;
  std::vector<v1::UploadHeader> upload;
  std::vector<v1::InitModelRequest> init;
  std::vector<v1::ExportRequest> exports;
  std::vector<v1::ParityRequest> parity;
  std::vector<std::string> authorization;
};

// google.rpc details as the daemon attaches them.
inline grpc::Status DetailedStatus(grpc::StatusCode code, const std::string& message,
                                   const std::string& reason,
                                   const std::vector<const google::protobuf::Message*>& more = {}) {
  google::rpc::Status status;
  status.set_code(static_cast<int>(code));
  status.set_message(message);
  google::rpc::ErrorInfo info;
  info.set_domain("lfm2.v1");
  info.set_reason(reason);
  status.add_details()->PackFrom(info);
  for (const google::protobuf::Message* detail : more) status.add_details()->PackFrom(*detail);
  return {code, message, status.SerializeAsString()};
}

class FakeServer final : public v1::Generation::Service,
                         public v1::Training::Service,
                         public v1::Models::Service {
 public:
  FakeServer() {
    grpc::EnableDefaultHealthCheckService(true);
    job.set_id("job-1");
    job.set_steps(3);
    job.set_state(v1::JOB_STATE_SUCCEEDED);
    models["ckpt"] = MakeModel("ckpt");
    Start("127.0.0.1:0");
  }
  ~FakeServer() override { Stop(); }

  void Stop() {
    if (server_) server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  grpc::Server& server() { return *server_; }

  static v1::Model MakeModel(const std::string& name) {
    v1::Model model;
    model.set_name(name);
    model.set_version("v1");
    model.set_architecture("hybrid");
    model.set_tokenizer_kind("bpe");
    model.set_tokenizer_sha256(Sha256Hex("tokenizer text"));
    model.set_config_json(
        R"({"vocab_size":256,"hidden_size":64,"num_hidden_layers":4,"num_attention_heads":4,"num_key_value_heads":4,)"
        R"("attn_every":2,"parallel_residual":true,"rope_theta":10000.0,"norm_eps":1e-05,"tie_word_embeddings":true})");
    return model;
  }

  // What the test sets.
  std::map<std::string, v1::Model> models;     // by reference
  std::map<std::string, grpc::Status> errors;  // by method
  std::deque<grpc::Status> start_errors;       // one for each StartTraining, then it works
  v1::Job job;
  std::vector<v1::JobEvent> events;
  std::deque<int> watch_breaks;  // the nth stream ends with UNAVAILABLE after so many events
  int watch_overlap = 0;         // events that a later stream sends again
  std::vector<std::string> tokens = {"Hel", "lo ", "wörld"};
  std::function<void()> after_first_token;  // then the stream waits to be cancelled
  std::map<std::string, std::string> export_files = {{"model.npz", "npz bytes"},
                                                     {"model.json", "{}"}};
  std::string export_damage;  // name of a file whose bytes arrive changed
  bool export_cut = false;    // ends before ExportDone
  std::string first_difference;
  v1::ConversionReport report;
  Captured captured;

  // Generation.
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    Note(*context, captured.generate, *request);
    if (errors.count("Generate") != 0) return errors["Generate"];
    v1::GenerateResponse event;
    event.mutable_start()->set_model("ckpt");
    event.mutable_start()->set_version("v1");
    event.mutable_start()->set_prompt_tokens(2);
    writer->Write(event);
    for (size_t i = 0; i < tokens.size(); ++i) {
      v1::GenerateToken* token = event.mutable_token();
      token->set_index(static_cast<int64_t>(i));
      token->set_id(static_cast<int32_t>(10 + i));
      token->set_text(tokens[i]);
      if (request->has_logprobs()) token->set_logprob(-0.5F);
      writer->Write(event);
      if (!after_first_token) continue;
      after_first_token();
      while (!context->IsCancelled()) std::this_thread::yield();
      return grpc::Status::CANCELLED;
    }
    v1::GenerateEnd* end = event.mutable_end();
    end->set_finish_reason(v1::FINISH_REASON_LENGTH);
    end->mutable_usage()->set_prompt_tokens(2);
    end->mutable_usage()->set_completion_tokens(static_cast<int64_t>(tokens.size()));
    end->set_text("!");
    writer->Write(event);
    return grpc::Status::OK;
  }
  grpc::Status Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                     v1::ScoreResponse* response) override {
    Note(*context, captured.score, *request);
    for (const int32_t id : {1, 2, 3}) response->add_ids(id);
    response->add_logprobs(-1);
    response->add_logprobs(-0.5F);
    return errors["Score"];
  }
  grpc::Status Tokenize(grpc::ServerContext* context, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    Note(*context, captured.tokenize, *request);
    for (const char c : request->text()) response->add_ids(static_cast<unsigned char>(c));
    return errors["Tokenize"];
  }
  grpc::Status Detokenize(grpc::ServerContext* context, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override {
    Note(*context, captured.detokenize, *request);
    for (const int32_t id : request->ids())
      response->mutable_text()->push_back(static_cast<char>(id));
    return errors["Detokenize"];
  }

  // Training.
  grpc::Status StartTraining(grpc::ServerContext* context, const v1::StartTrainingRequest* request,
                             v1::StartTrainingResponse* response) override {
    Note(*context, captured.start, *request);
    if (!start_errors.empty()) {
      grpc::Status status = start_errors.front();
      start_errors.pop_front();
      return status;
    }
    if (request->validate_only()) {
      response->mutable_plan()->set_dataset_tokens(1000);
    } else {
      *response->mutable_job() = job;
    }
    return errors["StartTraining"];
  }
  grpc::Status GetJob(grpc::ServerContext* context, const v1::GetJobRequest* request,
                      v1::Job* response) override {
    Note(*context, captured.get_job, request->id());
    *response = job;
    response->set_last_seq(events.empty() ? 0 : events.back().seq());
    return errors["GetJob"];
  }
  grpc::Status ListJobs(grpc::ServerContext* context, const v1::ListJobsRequest* request,
                        v1::ListJobsResponse* response) override {
    Note(*context, captured.list_jobs, *request);
    *response->add_jobs() = job;
    if (request->page_token().empty()) response->set_next_page_token("page-2");
    return errors["ListJobs"];
  }
  grpc::Status CancelJob(grpc::ServerContext* context, const v1::CancelJobRequest* request,
                         v1::Job* response) override {
    Note(*context, captured.cancel, request->id());
    *response = job;
    return errors["CancelJob"];
  }
  grpc::Status WatchJob(grpc::ServerContext* context, const v1::WatchJobRequest* request,
                        grpc::ServerWriter<v1::JobEvent>* writer) override {
    Note(*context, captured.watch, *request);
    if (errors.count("WatchJob") != 0) return errors["WatchJob"];
    int left = INT32_MAX;
    if (!watch_breaks.empty()) {
      left = watch_breaks.front();
      watch_breaks.pop_front();
    }
    const int64_t from = request->from_seq() - (captured.watch.size() > 1 ? watch_overlap : 0);
    for (const v1::JobEvent& event : events) {
      if (event.seq() < from) continue;
      if (left-- == 0) return {grpc::StatusCode::UNAVAILABLE, "the daemon went away"};
      writer->Write(event);
    }
    return grpc::Status::OK;
  }
  grpc::Status UploadDataset(grpc::ServerContext* context,
                             grpc::ServerReader<v1::UploadDatasetRequest>* reader,
                             v1::Dataset* response) override {
    v1::UploadDatasetRequest part;
    Sha256 hash;
    int64_t bytes = 0;
    while (reader->Read(&part)) {
      if (part.has_header()) {
        Note(*context, captured.upload, part.header());
        continue;
      }
      hash.Update(part.chunk());
      bytes += static_cast<int64_t>(part.chunk().size());
    }
    response->set_id("sha256:" + hash.Hex());
    response->set_bytes(bytes);
    response->set_name(captured.upload.back().name());
    return errors["UploadDataset"];
  }
  grpc::Status ListDatasets(grpc::ServerContext*, const v1::ListDatasetsRequest*,
                            v1::ListDatasetsResponse* response) override {
    response->add_datasets()->set_id("sha256:00");
    return errors["ListDatasets"];
  }

  // Models.
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override {
    for (const auto& [name, model] : models) *response->add_models() = model;
    return errors["ListModels"];
  }
  grpc::Status GetModel(grpc::ServerContext* context, const v1::GetModelRequest* request,
                        v1::Model* response) override {
    Note(*context, captured.get_model, request->model().name());
    const auto it = models.find(request->has_model() ? request->model().name() : "ckpt");
    if (it == models.end()) {
      return DetailedStatus(grpc::StatusCode::NOT_FOUND,
                            "no model is named \"" + request->model().name() + "\"",
                            "MODEL_NOT_FOUND");
    }
    *response = it->second;
    return errors["GetModel"];
  }
  grpc::Status InitModel(grpc::ServerContext* context, const v1::InitModelRequest* request,
                         grpc::ServerWriter<v1::InitModelResponse>* writer) override {
    Note(*context, captured.init, *request);
    if (errors.count("InitModel") != 0) return errors["InitModel"];
    v1::InitModelResponse event;
    event.set_job_id("job-init");
    writer->Write(event);
    *event.mutable_report() = report;
    writer->Write(event);
    models[request->name()] = MakeModel(request->name());
    *event.mutable_model() = models[request->name()];
    writer->Write(event);
    return grpc::Status::OK;
  }
  grpc::Status Export(grpc::ServerContext* context, const v1::ExportRequest* request,
                      grpc::ServerWriter<v1::ExportResponse>* writer) override {
    Note(*context, captured.exports, *request);
    if (errors.count("Export") != 0) return errors["Export"];
    v1::ExportResponse event;
    v1::ExportDone done;
    for (const auto& [name, bytes] : export_files) {
      v1::ExportedFile* file = event.mutable_file();
      file->set_name(name);
      file->set_bytes(static_cast<int64_t>(bytes.size()));
      file->set_sha256(Sha256Hex(bytes));
      *done.add_files() = *file;
      writer->Write(event);
      event.set_chunk(name == export_damage ? "X" + bytes.substr(1) : bytes);
      writer->Write(event);
    }
    *event.mutable_done() = done;
    if (!export_cut) writer->Write(event);
    return grpc::Status::OK;
  }
  grpc::Status Parity(grpc::ServerContext* context, const v1::ParityRequest* request,
                      grpc::ServerWriter<v1::ParityResponse>* writer) override {
    Note(*context, captured.parity, *request);
    if (errors.count("Parity") != 0) return errors["Parity"];
    v1::ParityResponse event;
    v1::Probe* probe = event.mutable_probe();
    probe->set_name("model.layers.0");
    probe->add_shape(request->tokens_size());
    probe->add_shape(64);
    probe->set_sum(1.5);
    writer->Write(event);
    for (int i = request->all_logits() ? 0 : request->tokens_size() - 1; i < request->tokens_size();
         ++i) {
      v1::Logits* logits = event.mutable_logits();
      logits->clear_values();
      logits->set_position(i);
      logits->add_values(static_cast<float>(i));
      logits->add_values(0.25F);
      writer->Write(event);
    }
    if (!request->has_against()) return grpc::Status::OK;
    v1::ParityComparison* comparison = event.mutable_comparison();
    comparison->set_first_difference(first_difference);
    v1::ProbeDifference* difference = comparison->add_probes();
    difference->set_name("model.layers.0");
    difference->set_max_abs_difference(0.125);
    difference->set_tolerance(1e-4);
    difference->set_differs(!first_difference.empty());
    writer->Write(event);
    return grpc::Status::OK;
  }

 private:
  void Start(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(static_cast<v1::Generation::Service*>(this));
    builder.RegisterService(static_cast<v1::Training::Service*>(this));
    builder.RegisterService(static_cast<v1::Models::Service*>(this));
    server_ = builder.BuildAndStart();
  }

  template <class T>
  void Note(const grpc::ServerContext& context, std::vector<T>& list, const T& request) {
    const std::lock_guard lock(mutex_);
    list.push_back(request);
    const auto it = context.client_metadata().find("authorization");
    if (it != context.client_metadata().end()) {
      captured.authorization.emplace_back(it->second.data(), it->second.size());
    }
  }

  std::mutex mutex_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

struct Outcome {
  int code = -1;
  std::string out, err;
};

struct RunOptions {
  std::string in;
  Interrupts* interrupts = nullptr;
  bool in_is_terminal = false, out_is_terminal = false, err_is_terminal = false;
};

// One run of lfm2ctl.
inline Outcome RunCtl(const std::vector<std::string>& arguments, const RunOptions& options = {}) {
  std::istringstream in(options.in);
  std::ostringstream out, err;
  Console console{in, out, err};
  console.in_is_terminal = options.in_is_terminal;
  console.out_is_terminal = options.out_is_terminal;
  console.err_is_terminal = options.err_is_terminal;
  Interrupts own;
  Interrupts& interrupts = options.interrupts != nullptr ? *options.interrupts : own;
  Outcome outcome;
  outcome.code = RunCommandLine(arguments, {console, interrupts, "1.2.3"});
  outcome.out = out.str();
  outcome.err = err.str();
  return outcome;
}

inline Outcome RunCtl(const FakeServer& server, std::vector<std::string> arguments,
                      const RunOptions& options = {}) {
  arguments.insert(arguments.end(), {"--server", server.address()});
  return RunCtl(arguments, options);
}

// A folder that goes away with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "lfm2ctl-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }
  std::string Write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return (path_ / name).string();
  }
  std::string Read(const std::string& name) const {
    std::ifstream file(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace lfm2
