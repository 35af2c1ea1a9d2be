// What the tests of Training share: uploads, jobs to start, watching.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "tests/server/rpc/rpc_fixture.h"

namespace lfm2 {

class TrainingTest : public RpcTest {
 protected:
  absl::StatusOr<TrainPlan> Plan(const JobSpec& spec, PlanDepth depth,
                                 const StopCheck& stop) override {
    ++plans_;
    if (spec.train.seq_len > 100'000) return Error(Reason::kNoSupervisedTokens, "too short");
    return RpcTest::Plan(spec, depth, stop);
  }

  struct Part {
    std::string name = "data.txt";
    std::string sha256;
    std::optional<int64_t> bytes;
    std::vector<std::string> chunks;
  };
  grpc::Status Upload(const Part& part, v1::Dataset* dataset) {
    grpc::ClientContext context;
    const auto writer = training_->UploadDataset(&context, dataset);
    v1::UploadDatasetRequest message;
    message.mutable_header()->set_name(part.name);
    message.mutable_header()->set_sha256(part.sha256);
    if (part.bytes) message.mutable_header()->set_bytes(*part.bytes);
    writer->Write(message);
    for (const std::string& chunk : part.chunks) {
      message.set_chunk(chunk);
      writer->Write(message);
    }
    writer->WritesDone();
    return writer->Finish();
  }
  std::string Uploaded(const std::string& text = "some text") {
    v1::Dataset dataset;
    Part part;
    part.chunks = {text};
    EXPECT_TRUE(Upload(part, &dataset).ok());
    return dataset.id();
  }
  v1::StartTrainingRequest Ask() {
    v1::StartTrainingRequest request;
    request.set_name("out");
    auto* dataset = request.add_datasets();
    dataset->set_name("data.txt");
    dataset->set_dataset(Uploaded());
    return request;
  }
  grpc::Status StartJob(const v1::StartTrainingRequest& request,
                        v1::StartTrainingResponse* response) {
    grpc::ClientContext context;
    return training_->StartTraining(&context, request, response);
  }
  std::vector<v1::JobEvent> Watch(const std::string& id, int64_t from, grpc::Status* status) {
    grpc::ClientContext context;
    v1::WatchJobRequest request;
    request.set_id(id);
    request.set_from_seq(from);
    const auto reader = training_->WatchJob(&context, request);
    std::vector<v1::JobEvent> events;
    v1::JobEvent event;
    while (reader->Read(&event)) events.push_back(event);
    *status = reader->Finish();
    return events;
  }
  static StepMetrics Step(int64_t step) {
    StepMetrics metrics;
    metrics.step = step;
    metrics.loss = 1.5;
    return metrics;
  }
  std::atomic<int> plans_{0};
};

}  // namespace lfm2
