#include "base/operator_new/work_limit.h"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>

#include <cstdlib>
#include <ctime>
#include <new>

namespace lfm2 {
namespace {

constinit thread_local WorkLimit* t_limit = nullptr;

// Machine code of the watched library.
uintptr_t g_code_begin = 0, g_code_end = 0;

std::chrono::nanoseconds ThreadTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

int NoteCode(dl_phdr_info* info, size_t, void* base) {
  if (info->dlpi_addr != *static_cast<ElfW(Addr)*>(base)) return 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD || (part.p_flags & PF_X) == 0) continue;
    g_code_begin = info->dlpi_addr + part.p_vaddr;
    g_code_end = g_code_begin + part.p_memsz;
  }
  return 1;
}

}  // namespace

WorkLimit::WorkLimit(std::chrono::milliseconds time, int64_t bytes)
    : end_(ThreadTime() + time), most_bytes_(bytes) {
  t_limit = this;
}

WorkLimit::~WorkLimit() { t_limit = nullptr; }

void WorkLimit::Watch(void* library) {
  link_map* map = nullptr;
  if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0) return;
  ElfW(Addr) base = map->l_addr;
  dl_iterate_phdr(NoteCode, &base);
}

// Fails only once, and never for a caller in another library: code that runs while the stack
// unwinds (handlers, destructors that log) must still get memory.
bool WorkLimit::Allows(size_t bytes, const void* caller) {
  constexpr uint32_t kAskedPerClock = 64;
  const auto code = reinterpret_cast<uintptr_t>(caller);
  if (broken_ != Broken::kNone || code < g_code_begin || code >= g_code_end) return true;
  if (bytes > static_cast<size_t>(most_bytes_) ||
      bytes_ + static_cast<int64_t>(bytes) > most_bytes_) {
    broken_ = Broken::kBytes;
  } else if (asked_++ % kAskedPerClock == 0 && ThreadTime() >= end_) {
    broken_ = Broken::kTime;
  }
  return broken_ == Broken::kNone;
}

namespace {

// Null when memory is exhausted or the limit is reached.
void* Allocate(size_t bytes, const void* caller) noexcept {
  WorkLimit* const limit = t_limit;
  if (limit != nullptr && !limit->Allows(bytes, caller)) return nullptr;
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (limit != nullptr && memory != nullptr) limit->Add(malloc_usable_size(memory));
  return memory;
}

void* AllocateOrThrow(size_t bytes, const void* caller) {
  if (void* const memory = Allocate(bytes, caller); memory != nullptr) return memory;
  throw std::bad_alloc();
}

void Free(void* memory) noexcept {
  if (WorkLimit* const limit = t_limit; limit != nullptr && memory != nullptr) {
    limit->Subtract(malloc_usable_size(memory));
  }
  std::free(memory);
}

}  // namespace
}  // namespace lfm2

// All forms except the aligned ones are replaced: if a library or a sanitizer replaced only some of
// them, memory from one allocator could be freed by another.
void* operator new(size_t bytes) {
  return lfm2::AllocateOrThrow(bytes, __builtin_return_address(0));
}
void* operator new[](size_t bytes) {
  return lfm2::AllocateOrThrow(bytes, __builtin_return_address(0));
}
void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  return lfm2::Allocate(bytes, __builtin_return_address(0));
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  return lfm2::Allocate(bytes, __builtin_return_address(0));
}
void operator delete(void* memory) noexcept { lfm2::Free(memory); }
void operator delete[](void* memory) noexcept { lfm2::Free(memory); }
void operator delete(void* memory, size_t) noexcept { lfm2::Free(memory); }
void operator delete[](void* memory, size_t) noexcept { lfm2::Free(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { lfm2::Free(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { lfm2::Free(memory); }
