// A disk that is full, for this process alone.
#pragma once

#include <signal.h>
#include <sys/resource.h>

namespace lfm2 {

// Every write of this process that makes a file longer fails while the object lives; children
// started before are free.
class RefusedWrites {
 public:
  RefusedWrites() {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{0, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &none);
  }
  ~RefusedWrites() { setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_;
};

}  // namespace lfm2
