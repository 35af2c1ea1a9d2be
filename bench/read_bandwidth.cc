#include "bench/read_bandwidth.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "model/kernels/machine/huge_buffer.h"

namespace lfm2 {
namespace {

using Clock = std::chrono::steady_clock;
using Lanes = uint64_t __attribute__((vector_size(64)));

constexpr int64_t kBytesAtLeast = int64_t{512} << 20;
constexpr int64_t kPieceBytes = int64_t{512} << 10;  // which threads take one by one
constexpr int64_t kPieceLanes = kPieceBytes / static_cast<int64_t>(sizeof(Lanes));

template <int kStreams>
uint64_t ReadPiece(const Lanes* piece) {
  constexpr int64_t kEach = kPieceLanes / kStreams;
  Lanes sums[4] = {};
  for (int64_t i = 0; i < kEach; i += 4) {
    for (int stream = 0; stream < kStreams; ++stream) {
      for (int64_t j = 0; j < 4; ++j) sums[j] += piece[stream * kEach + i + j];
    }
  }
  return sums[0][0] + sums[1][0] + sums[2][0] + sums[3][0];
}

}  // namespace

int64_t UncachedBytes(int64_t at_least) {
  int64_t cache = 0;
#if defined(_SC_LEVEL3_CACHE_SIZE)
  cache = std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
#endif
  return std::max(at_least, 4 * cache);
}

double ReadBandwidth(ThreadPool& pool) {
  const int64_t pieces = UncachedBytes(kBytesAtLeast) / kPieceBytes;
  const int64_t bytes = pieces * kPieceBytes;
  auto buffer = HugeBuffer::Allocate(bytes);
  if (!buffer.ok()) return 0;
  std::memset(buffer->data(), 1, static_cast<size_t>(bytes));
  const Lanes* const data = reinterpret_cast<const Lanes*>(buffer->data());
  constexpr uint64_t (*kReaders[])(const Lanes*) = {ReadPiece<1>, ReadPiece<2>, ReadPiece<4>};
  std::atomic<uint64_t> total{0};
  double fastest = 0;
  for (const auto reader : kReaders) {
    std::vector<double> seconds;
    const auto end = Clock::now() + std::chrono::seconds(1);
    while (seconds.size() < 5 || Clock::now() < end) {
      const auto begin = Clock::now();
      pool.ParallelFor(pieces, 1, [&](int64_t first, int64_t last) {
        for (; first < last; ++first) total += reader(data + first * kPieceLanes);
      });
      seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    std::sort(seconds.begin(), seconds.end());
    const double median = seconds[seconds.size() / 2];
    fastest = std::max(fastest, static_cast<double>(bytes) / median);
  }
  return total == 0 ? 0 : fastest;
}

}  // namespace lfm2
