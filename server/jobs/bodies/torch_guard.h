// The border of LibTorch's exceptions in a job. Only the *_body.cc files include this.
#pragma once

#include <ATen/ATen.h>

#include <new>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "base/errors.h"

namespace lfm2 {

// What the function returns, or what it threw as a Status. The CPU's allocator throws the general
// c10::Error.
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
