// Catches exceptions on the engine's thread: if a runner, a sink or a task throws, only the request
// or task of that call fails, not the engine. Thread rule: pure.
#pragma once

#include <exception>
#include <new>
#include <utility>

#include "absl/status/status.h"
#include "base/errors.h"
#include "base/log.h"

namespace lfm2 {

// `work` returns a Status. The returned message has no details; they are logged.
template <typename Work>
absl::Status Guarded(const char* what, Work&& work) {
  try {
    return std::forward<Work>(work)();
  } catch (const std::bad_alloc&) {
    Log(LogLevel::kError, "out of memory in the engine", {{"during", what}});
    return Error(Reason::kOutOfMemory, "there is no memory for this request");
  } catch (const std::exception& error) {
    Log(LogLevel::kError, "exception in the engine", {{"during", what}, {"detail", error.what()}});
  } catch (...) {
    Log(LogLevel::kError, "exception in the engine", {{"during", what}});
  }
  return Error(Reason::kInternal, "the model failed while it ran; the log has the detail");
}

}  // namespace lfm2
