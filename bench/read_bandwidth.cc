#include "bench/read_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "model/kernels/huge_buffer.h"

namespace lfm2 {
namespace {

using Clock = std::chrono::steady_clock;
using Lanes = uint64_t __attribute__((vector_size(64)));

constexpr int64_t kSlices = 16;
constexpr int64_t kPieces = 64;  // of a slice, which threads take one by one
constexpr int64_t kPieceLanes = (int64_t{512} << 10) / static_cast<int64_t>(sizeof(Lanes));
constexpr int64_t kSliceLanes = kPieces * kPieceLanes;
constexpr int64_t kSliceBytes = kSliceLanes * static_cast<int64_t>(sizeof(Lanes));

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

double ReadBandwidth(ThreadPool& pool) {
  auto buffer = HugeBuffer::Allocate(kSlices * kSliceBytes);
  if (!buffer.ok()) return 0;
  std::memset(buffer->data(), 1, static_cast<size_t>(kSlices * kSliceBytes));
  const Lanes* const data = reinterpret_cast<const Lanes*>(buffer->data());
  constexpr uint64_t (*kReaders[])(const Lanes*) = {ReadPiece<1>, ReadPiece<2>, ReadPiece<4>};
  std::atomic<uint64_t> total{0};
  double best = 1e30;
  const auto end = Clock::now() + std::chrono::seconds(2);
  for (int64_t turn = 0; Clock::now() < end; ++turn) {
    // Slices are short, so that others disturb some of them only.
    const Lanes* const slice = data + turn % kSlices * kSliceLanes;
    const auto begin = Clock::now();
    pool.ParallelFor(kPieces, 1, [&](int64_t first, int64_t last) {
      for (; first < last; ++first) total += kReaders[turn % 3](slice + first * kPieceLanes);
    });
    best = std::min(best, std::chrono::duration<double>(Clock::now() - begin).count());
  }
  return total == 0 ? 0 : static_cast<double>(kSliceBytes) / best;
}

}  // namespace lfm2
