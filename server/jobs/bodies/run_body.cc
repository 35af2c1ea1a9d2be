#include "base/errors.h"
#include "server/jobs/bodies/bodies.h"
#include "server/jobs/bodies/torch_guard.h"

namespace lfm2 {
namespace {

WorkerResult Dispatch(const Order& order, WorkerLink& link) {
  switch (order.spec.kind) {
    case JobKind::kTrain:
      return TrainBody(order, link);
    case JobKind::kInit:
      return InitBody(order, link);
    case JobKind::kExport:
      return ExportBody(order, link);
  }
  WorkerResult result;
  result.status = Error(Reason::kInternal, "unknown kind of job");
  return result;
}

}  // namespace

WorkerResult RunJob(const Order& order, WorkerLink& link) {
  WorkerResult result;
  const absl::Status thrown = GuardTorch([&] {
    result = Dispatch(order, link);
    return absl::OkStatus();
  });
  if (!thrown.ok()) result.status = thrown;
  return result;
}

}  // namespace lfm2
