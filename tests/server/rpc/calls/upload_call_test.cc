#include "server/rpc/calls/upload_call.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/server/rpc/training_fixture.h"

namespace lfm2 {
namespace {

using UploadCallTest = TrainingTest;

TEST_F(UploadCallTest, StoresAnUploadOnceUnderItsHash) {
  Start();
  Part part;
  part.chunks = {std::string(1 << 20, 'a'), std::string(12345, 'b')};
  const std::string whole = part.chunks[0] + part.chunks[1];
  part.sha256 = Sha256Hex(whole);
  part.bytes = static_cast<int64_t>(whole.size());
  v1::Dataset dataset;
  const grpc::Status status = Upload(part, &dataset);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(dataset.id(), "sha256:" + part.sha256);
  EXPECT_EQ(dataset.bytes(), *part.bytes);
  EXPECT_FALSE(dataset.existed());
  EXPECT_EQ(ReadText(datasets_->FileOf(dataset.id())), whole);
  ASSERT_TRUE(Upload(part, &dataset).ok());
  EXPECT_TRUE(dataset.existed());
  v1::ListDatasetsResponse list;
  grpc::ClientContext context;
  ASSERT_TRUE(training_->ListDatasets(&context, {}, &list).ok());
  EXPECT_EQ(list.datasets_size(), 1);
}

TEST_F(UploadCallTest, StoresAnEmptyFileToo) {
  Start();
  v1::Dataset dataset;
  ASSERT_TRUE(Upload({}, &dataset).ok());
  EXPECT_EQ(dataset.bytes(), 0);
}

TEST_F(UploadCallTest, RefusesUploadsThatAreNotWhatTheySay) {
  limits_.dataset_bytes = 100;
  datasets_ = DatasetStore::Open(directory_.path() / "small", limits_, Clock::Real()).value();
  Start();
  v1::Dataset dataset;
  Part part;
  part.chunks = {"text"};
  part.sha256 = std::string(64, '0');
  EXPECT_EQ(ReasonOf(Upload(part, &dataset)), "DATASET_HASH_MISMATCH");
  part.sha256 = "no hash";
  EXPECT_EQ(FieldsOf(Upload(part, &dataset)), std::vector<std::string>{"header.sha256"});
  part.sha256.clear();
  part.bytes = 5;
  EXPECT_EQ(FieldsOf(Upload(part, &dataset)), std::vector<std::string>{"header.bytes"});
  part.bytes = 3;
  EXPECT_EQ(FieldsOf(Upload(part, &dataset)), std::vector<std::string>{"header.bytes"});
  part.bytes.reset();
  part.name = "../data.txt";
  EXPECT_EQ(ReasonOf(Upload(part, &dataset)), "PATH_OUTSIDE_ROOT");
  part.name = "data.txt";
  part.chunks = {std::string(100, 'x')};
  EXPECT_TRUE(Upload(part, &dataset).ok());
  part.chunks = {std::string(101, 'y')};
  EXPECT_EQ(ReasonOf(Upload(part, &dataset)), "MESSAGE_TOO_LARGE");
  part.chunks = {std::string((1 << 20) + 1, 'z')};
  EXPECT_EQ(FieldsOf(Upload(part, &dataset)), std::vector<std::string>{"chunk"});
  EXPECT_EQ(datasets_->List()->size(), 1U);
}

TEST_F(UploadCallTest, RefusesAChunkBeforeTheHeaderAndAnEmptyStream) {
  Start();
  v1::Dataset dataset;
  {
    grpc::ClientContext context;
    const auto writer = training_->UploadDataset(&context, &dataset);
    v1::UploadDatasetRequest message;
    message.set_chunk("x");
    writer->Write(message);
    writer->WritesDone();
    EXPECT_EQ(FieldsOf(writer->Finish()), std::vector<std::string>{"header"});
  }
  grpc::ClientContext context;
  const auto writer = training_->UploadDataset(&context, &dataset);
  writer->WritesDone();
  EXPECT_EQ(FieldsOf(writer->Finish()), std::vector<std::string>{"header"});
}

TEST_F(UploadCallTest, LeavesNothingOfAnUploadWhoseClientWent) {
  Start();
  const auto entries = [&] {
    int count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path() / "datasets")) {
      (void)entry;
      ++count;
    }
    return count;
  };
  {
    grpc::ClientContext context;
    v1::Dataset dataset;
    const auto writer = training_->UploadDataset(&context, &dataset);
    v1::UploadDatasetRequest message;
    message.mutable_header()->set_name("data.txt");
    writer->Write(message);
    message.set_chunk("half");
    writer->Write(message);
    ASSERT_TRUE(Eventually([&] { return entries() == 1; }));
    context.TryCancel();
    EXPECT_EQ(writer->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Eventually([&] { return entries() == 0; }));
  EXPECT_TRUE(datasets_->List()->empty());
}

}  // namespace
}  // namespace lfm2
