#include "server/rpc/transport/foreign_methods.h"

#include <grpc/grpc.h>
#include <grpcpp/server_context.h>

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/errors.h"
#include "base/log.h"

namespace lfm2 {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

constexpr std::string_view kOwnPackage = "/lfm2.v1.";

// The messages and the status of a refused call pass through here too. Its handler may still run,
// so everything that it sends is dropped.
class Guard final : public grpc::experimental::Interceptor {
 public:
  Guard(std::shared_ptr<ServiceCore> core, ServerRpcInfo* info)
      : core_(std::move(core)), info_(info) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Check(*methods->GetRecvInitialMetadata());
    }
    if (!refused_.ok() &&
        methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_MESSAGE)) {
      if (grpc::ByteBuffer* message = methods->GetSerializedSendMessage()) message->Clear();
    }
    methods->Proceed();
  }

 private:
  void Check(const std::multimap<grpc::string_ref, grpc::string_ref>& metadata) {
    const auto range = metadata.equal_range("authorization");
    std::optional<std::string_view> header;
    if (range.first != range.second) {
      header = std::string_view(range.first->second.data(), range.first->second.size());
    }
    refused_ = core_->auth.Check(info_->method(), header).status();
    if (refused_.ok()) return;
    const char* reason = SpecOf(DetailsOf(refused_).reason).name;
    Log(LogLevel::kInfo, "call", {{"method", info_->method()}, {"reason", reason}});
    const std::string text = absl::StrCat(reason, ": ", refused_.message());
    auto* context = static_cast<grpc::ServerContext*>(info_->server_context());
    grpc_call_cancel_with_status(context->c_call(), static_cast<grpc_status_code>(refused_.code()),
                                 text.c_str(), nullptr);
  }

  const std::shared_ptr<ServiceCore> core_;
  ServerRpcInfo* const info_;
  absl::Status refused_;
};

class GuardFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit GuardFactory(std::shared_ptr<ServiceCore> core) : core_(std::move(core)) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    const std::string_view method = info->method() == nullptr ? "" : info->method();
    const MethodAccess* access = AccessOf(method);
    const bool open = access != nullptr && access->rule == MethodAccess::Rule::kOpen;
    if (open || method.starts_with(kOwnPackage)) return nullptr;
    return new Guard(core_, info);  // owned by the library
  }

 private:
  const std::shared_ptr<ServiceCore> core_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> GuardForeignMethods(
    std::shared_ptr<ServiceCore> core) {
  return std::make_unique<GuardFactory>(std::move(core));
}

}  // namespace lfm2
