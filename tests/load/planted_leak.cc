// Preloaded into a daemon, it forgets every fourth block of 64 bytes or more that free() is given:
// what the memory check of load_test.py must notice. No product code is touched. Below operator
// delete, which the daemon has one of its own of.
#include <malloc.h>

#include <atomic>
#include <cstdlib>

extern "C" void __libc_free(void* block);  // NOLINT: glibc's own

extern "C" void free(void* block) noexcept {  // NOLINT: glibc's name
  static std::atomic<unsigned> count{0};
  if (block != nullptr && malloc_usable_size(block) >= 64 && count++ % 4 == 0) return;
  __libc_free(block);
}
