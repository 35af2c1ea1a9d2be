#include <algorithm>

#include "base/status_macros.h"
#include "lfm2/v1/training.grpc.pb.h"
#include "server/rpc/calls/convert.h"
#include "server/rpc/calls/convert_training.h"
#include "server/rpc/calls/services.h"
#include "server/rpc/calls/upload_call.h"
#include "server/rpc/calls/watch_call.h"
#include "server/rpc/transport/unary_call.h"

namespace lfm2 {
namespace {

using grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using T = v1::Training;
using RawTraining = T::WithRawCallbackMethod_StartTraining<T::WithRawCallbackMethod_GetJob<
    T::WithRawCallbackMethod_ListJobs<T::WithRawCallbackMethod_WatchJob<
        T::WithRawCallbackMethod_CancelJob<T::WithRawCallbackMethod_UploadDataset<
            T::WithRawCallbackMethod_ListDatasets<T::Service>>>>>>>;

absl::StatusOr<v1::StartTrainingResponse> Plan(UnaryCall& unary, JobQueue& jobs,
                                               const JobSpec& spec,
                                               const v1::StartTrainingRequest& request) {
  const bool only_plan = request.validate_only();
  LFM2_ASSIGN_OR_RETURN(
      const TrainPlan plan,
      unary.call().services().plan(spec, only_plan ? PlanDepth::kFull : PlanDepth::kRefusalsOnly,
                                   [&unary] { return unary.WhyStopped(); }));
  v1::StartTrainingResponse response;
  if (only_plan) {
    *response.mutable_plan() = ToProto(plan);
    return response;
  }
  LFM2_ASSIGN_OR_RETURN(const Job job,
                        jobs.Submit(unary.call().principal(), request.request_id(), spec));
  *response.mutable_job() = ToProto(job);
  return response;
}

// The request itself is checked at once, even while long work is running.
void DoStart(const std::shared_ptr<UnaryCall>& unary, const v1::StartTrainingRequest& request) {
  const absl::StatusOr<JobQueue*> jobs = JobsOf(unary->call().services());
  if (!jobs.ok()) return unary->Fail(jobs.status());
  absl::StatusOr<JobSpec> spec = TrainJob(request, unary->call().services());
  if (!spec.ok()) return unary->Fail(spec.status());
  unary->OnLongWorker([call = unary.get(), jobs = *jobs, spec = *std::move(spec), request] {
    call->Reply(Plan(*call, *jobs, spec, request));
  });
}

absl::Status CheckJobId(const std::string& id) {
  RequestCheck check;
  if (id.empty()) check.Add("id", "is empty");
  return check.ToStatus();
}

absl::StatusOr<v1::Job> DoGetJob(RpcCall& call, const v1::GetJobRequest& request) {
  LFM2_ASSIGN_OR_RETURN(JobQueue* const jobs, JobsOf(call.services()));
  LFM2_RETURN_IF_ERROR(CheckJobId(request.id()));
  LFM2_ASSIGN_OR_RETURN(const Job job, jobs->Get(request.id()));
  return ToProto(job);
}

absl::StatusOr<v1::Job> DoCancelJob(RpcCall& call, const v1::CancelJobRequest& request) {
  LFM2_ASSIGN_OR_RETURN(JobQueue* const jobs, JobsOf(call.services()));
  LFM2_RETURN_IF_ERROR(CheckJobId(request.id()));
  LFM2_ASSIGN_OR_RETURN(const Job job, jobs->Cancel(request.id()));
  return ToProto(job);
}

absl::StatusOr<v1::ListJobsResponse> DoListJobs(RpcCall& call, const v1::ListJobsRequest& request) {
  LFM2_ASSIGN_OR_RETURN(JobQueue* const jobs, JobsOf(call.services()));
  RequestCheck check;
  const int page = CheckPageSize(request.has_page_size(), request.page_size(), check);
  const std::optional<JobState> state = CheckJobState(request.state(), check);
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(const JobPage found, jobs->List(state, page, request.page_token()));
  v1::ListJobsResponse response;
  for (const Job& job : found.jobs) *response.add_jobs() = ToProto(job);
  response.set_next_page_token(found.next_page_token);
  return response;
}

// A page token is the last id of the page before.
absl::StatusOr<v1::ListDatasetsResponse> DoListDatasets(RpcCall& call,
                                                        const v1::ListDatasetsRequest& request) {
  RequestCheck check;
  const int page = CheckPageSize(request.has_page_size(), request.page_size(), check);
  LFM2_RETURN_IF_ERROR(check.ToStatus());
  LFM2_ASSIGN_OR_RETURN(const std::vector<DatasetInfo> all, call.services().datasets.List());
  auto first = all.begin();
  if (!request.page_token().empty()) {
    first = std::find_if(all.begin(), all.end(),
                         [&](const DatasetInfo& info) { return info.id == request.page_token(); });
    if (first == all.end()) check.Add("page_token", "was not issued by this server");
    LFM2_RETURN_IF_ERROR(check.ToStatus());
    ++first;
  }
  v1::ListDatasetsResponse response;
  for (; first != all.end(); ++first) {
    if (response.datasets_size() == page) {
      response.set_next_page_token(std::prev(first)->id);
      break;
    }
    *response.add_datasets() = ToProto(*first);
  }
  return response;
}

class TrainingService final : public RawTraining {
 public:
  explicit TrainingService(std::shared_ptr<ServiceCore> core) : core_(std::move(core)) {}

  grpc::ServerUnaryReactor* StartTraining(Context* context, const ByteBuffer* request,
                                          ByteBuffer* response) override {
    return AnswerLater<v1::StartTrainingRequest>(
        core_, {context, "/lfm2.v1.Training/StartTraining", request, response}, DoStart);
  }
  grpc::ServerUnaryReactor* GetJob(Context* context, const ByteBuffer* request,
                                   ByteBuffer* response) override {
    return Answer<v1::GetJobRequest, v1::Job>(
        core_, {context, "/lfm2.v1.Training/GetJob", request, response}, DoGetJob);
  }
  grpc::ServerUnaryReactor* ListJobs(Context* context, const ByteBuffer* request,
                                     ByteBuffer* response) override {
    return Answer<v1::ListJobsRequest, v1::ListJobsResponse>(
        core_, {context, "/lfm2.v1.Training/ListJobs", request, response}, DoListJobs);
  }
  grpc::ServerWriteReactor<ByteBuffer>* WatchJob(Context* context,
                                                 const ByteBuffer* request) override {
    return OpenStream<WatchCall, v1::WatchJobRequest>(core_, context, "/lfm2.v1.Training/WatchJob",
                                                      *request);
  }
  grpc::ServerUnaryReactor* CancelJob(Context* context, const ByteBuffer* request,
                                      ByteBuffer* response) override {
    return Answer<v1::CancelJobRequest, v1::Job>(
        core_, {context, "/lfm2.v1.Training/CancelJob", request, response}, DoCancelJob);
  }
  grpc::ServerReadReactor<ByteBuffer>* UploadDataset(Context* context,
                                                     ByteBuffer* response) override {
    return UploadCall::Open(core_, context, "/lfm2.v1.Training/UploadDataset", response);
  }
  grpc::ServerUnaryReactor* ListDatasets(Context* context, const ByteBuffer* request,
                                         ByteBuffer* response) override {
    return Answer<v1::ListDatasetsRequest, v1::ListDatasetsResponse>(
        core_, {context, "/lfm2.v1.Training/ListDatasets", request, response}, DoListDatasets);
  }

 private:
  const std::shared_ptr<ServiceCore> core_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTrainingService(std::shared_ptr<ServiceCore> core) {
  return std::make_unique<TrainingService>(std::move(core));
}

}  // namespace lfm2
