// Converts LibTorch's exceptions in a job to Status. Only the *_body.cc files include this.
#pragma once

#include <ATen/ATen.h>

#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/errors.h"

namespace lfm2 {

// Returns the function's result, or its exception as a Status. LibTorch's CPU allocator throws a
// plain c10::Error.
template <typename Function>
auto GuardTorch(Function&& function) -> decltype(function()) {
  try {
    return function();
  } catch (const c10::OutOfMemoryError&) {
    return Error(Reason::kOutOfMemory, "the job needs more memory than the device has");
  } catch (const std::bad_alloc&) {
    return Error(Reason::kOutOfMemory, "the job needs more memory than there is");
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    const bool memory = what.find("not enough memory") != std::string::npos ||
                        what.find("allocate memory") != std::string::npos;
    return Error(memory ? Reason::kOutOfMemory : Reason::kInternal, what);
  } catch (const std::exception& error) {
    return Error(Reason::kInternal, error.what());
  }
}

}  // namespace lfm2
