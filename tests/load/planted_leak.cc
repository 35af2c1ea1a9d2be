// Preloaded into a daemon, it forgets every fourth block of 64 bytes or more that operator delete
// is given: what the memory check of load_test.py must notice. No product code is touched.
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

void Forget(void* block) {
  static std::atomic<unsigned> count{0};
  if (block != nullptr && malloc_usable_size(block) >= 64 && count++ % 4 == 0) return;
  std::free(block);
}

}  // namespace

void operator delete(void* block) noexcept { Forget(block); }
void operator delete(void* block, std::size_t) noexcept { Forget(block); }
void operator delete[](void* block) noexcept { Forget(block); }
void operator delete[](void* block, std::size_t) noexcept { Forget(block); }
