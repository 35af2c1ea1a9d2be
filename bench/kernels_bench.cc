// lfm2_kernels_bench: what the matrix kernels reach on this machine, beside its read bandwidth.
//
// Decoding reads every weight once a step, so its measure is bytes of weights a second, from
// memory: each shape has as many matrices as do not fit into the caches, used in turn. Prefill is
// bound by arithmetic: its measure is operations a second (a multiplication and an addition are
// two). Every figure is the best of several short runs, because others may use the machine.
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "bench/read_bandwidth.h"
#include "model/kernels/matmul/matmul.h"

namespace lfm2 {
namespace {

struct Shape {
  int64_t rows, cols;
};

struct Options {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  std::vector<std::string> isas;
  std::vector<std::string> formats = {"f32", "bf16", "int8", "int4"};
  std::vector<std::string> shapes = {"8192x2048", "2048x8192", "6144x2048", "2048x2048",
                                     "4608x1024", "1024x4608", "65536x1024"};
  std::vector<int64_t> tokens = {1, 4, 16, 512};
  int64_t cold_bytes = UncachedBytes(int64_t{192} << 20);
  double seconds = 0.3;
  std::string json;
};

struct Result {
  std::string isa, format;
  Shape shape;
  int64_t tokens;
  double seconds;
  double weights_gb_s;
  double gop_s;
};

bool cpu_clock = false;

double Now() {
  if (cpu_clock) {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

constexpr int kRunsAtLeast = 12;

double BestOf(double seconds, const std::function<void()>& body) {
  double best = 1e30;
  const double end = Now() + seconds;
  int runs = 0;
  while (runs < kRunsAtLeast || Now() < end) {
    const double begin = Now();
    body();
    best = std::min(best, Now() - begin);
    ++runs;
  }
  return best;
}

std::vector<PackedMatrix> PackCopies(Shape shape, WeightFormat format, Isa isa, int64_t cold_bytes,
                                     ThreadPool& pool) {
  std::vector<float> values(static_cast<size_t>(shape.rows * shape.cols));
  uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = (static_cast<float>(state >> 8) / 16777216.0F - 0.5F) * 0.1F;
  }
  TensorView view;
  view.name = "weights";
  view.shape = {shape.rows, shape.cols};
  view.data = reinterpret_cast<const std::byte*>(values.data());
  view.bytes = shape.rows * shape.cols * 4;
  std::vector<PackedMatrix> copies;
  int64_t bytes = 0;
  double fastest = 1e30;
  while (bytes < cold_bytes) {
    const double begin = Now();
    auto packed = PackedMatrix::Pack({&view, 1}, format, isa, pool);
    fastest = std::min(fastest, Now() - begin);
    if (!packed.ok()) {
      std::cerr << packed.status() << "\n";
      std::exit(1);
    }
    bytes += packed->bytes();
    copies.push_back(*std::move(packed));
  }
  std::printf("packing float32 to %s: %.0f million weights/s\n", WeightFormatName(format),
              static_cast<double>(shape.rows * shape.cols) / fastest / 1e6);
  return copies;
}

Result Measure(const std::vector<PackedMatrix>& copies, int64_t tokens, double seconds,
               ThreadPool& pool) {
  const PackedMatrix& first = copies[0];
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(static_cast<size_t>(tokens * first.cols()));
  for (float& value : x) value = normal(random);
  std::vector<float> y(static_cast<size_t>(tokens * first.rows()));
  // One product a run, so that one of them is undisturbed; each matrix is cold when its turn comes.
  const size_t used = tokens > 64 ? 1 : copies.size();
  size_t turn = 0;
  const double best =
      BestOf(seconds, [&] { MatMul(copies[turn++ % used], x.data(), tokens, y.data(), pool); });
  const Shape shape{first.rows(), first.cols()};
  return {IsaName(first.isa()),
          WeightFormatName(first.format()),
          shape,
          tokens,
          best,
          static_cast<double>(first.bytes()) / best / 1e9,
          2.0 * static_cast<double>(shape.rows * shape.cols * tokens) / best / 1e9};
}

double Load() {
  double loads[1] = {0};
  return getloadavg(loads, 1) == 1 ? loads[0] : -1;
}

std::string Json(const Options& options, double one, double all, double load,
                 const std::vector<Result>& results) {
  std::string out = "{\"threads\": " + std::to_string(options.threads) +
                    ", \"read_gb_s_1\": " + std::to_string(one) +
                    ", \"read_gb_s\": " + std::to_string(all) +
                    ", \"load_before\": " + std::to_string(load) +
                    ", \"load_after\": " + std::to_string(Load()) + ", \"results\": [\n";
  for (const Result& r : results) {
    char line[400];
    std::snprintf(line, sizeof(line),
                  "  {\"isa\": \"%s\", \"format\": \"%s\", \"rows\": %lld, \"cols\": %lld, "
                  "\"tokens\": %lld, \"us\": %.2f, \"weights_gb_s\": %.2f, \"share\": %.3f, "
                  "\"gop_s\": %.1f}",
                  r.isa.c_str(), r.format.c_str(), static_cast<long long>(r.shape.rows),
                  static_cast<long long>(r.shape.cols), static_cast<long long>(r.tokens),
                  r.seconds * 1e6, r.weights_gb_s, r.weights_gb_s / all, r.gop_s);
    out += std::string(line) + (&r == &results.back() ? "\n" : ",\n");
  }
  return out + "]}\n";
}

void PrintRow(const Result& r, double bandwidth) {
  std::printf("%-8s %-5s [%6lld, %5lld] %4lld tokens %10.1f us %7.2f GB/s %4.0f %% %8.1f GOP/s\n",
              r.isa.c_str(), r.format.c_str(), static_cast<long long>(r.shape.rows),
              static_cast<long long>(r.shape.cols), static_cast<long long>(r.tokens),
              r.seconds * 1e6, r.weights_gb_s, 100 * r.weights_gb_s / bandwidth, r.gop_s);
  std::fflush(stdout);
}

WeightFormat FormatOrExit(const std::string& name) {
  if (const auto format = WeightFormatByName(name)) return *format;
  std::cerr << "format " << name << " is not one of f32, bf16, int8, int4\n";
  std::exit(1);
}

// "": what the environment says.
Isa IsaOrExit(const std::string& name) {
  auto isa = name.empty() ? IsaFromEnvironment() : IsaByName(name);
  if (isa.ok()) return *isa;
  std::cerr << isa.status() << "\n";
  std::exit(1);
}

int Run(const Options& options) {
  const double load = Load();
  if (cpu_clock && options.threads != 1) {
    std::cerr << "--cpu_time counts one thread: give --threads 1\n";
    return 1;
  }
  ThreadPool alone(1);
  ThreadPool pool(options.threads);
  const double one = ReadBandwidth(alone) * 1e-9;
  const double all = options.threads == 1 ? one : ReadBandwidth(pool) * 1e-9;
  std::printf("read bandwidth %.1f GB/s with 1 thread, %.1f with %d; load average %.1f\n", one, all,
              options.threads, load);
  std::vector<Result> results;
  for (const std::string& isa : options.isas) {
    for (const std::string& format : options.formats) {
      for (const std::string& name : options.shapes) {
        Shape shape{};
        if (std::sscanf(name.c_str(), "%ldx%ld", &shape.rows, &shape.cols) != 2) {
          std::cerr << "shape " << name << " is not ROWSxCOLS\n";
          return 1;
        }
        const auto copies =
            PackCopies(shape, FormatOrExit(format), IsaOrExit(isa), options.cold_bytes, pool);
        for (int64_t tokens : options.tokens) {
          results.push_back(Measure(copies, tokens, options.seconds, pool));
          PrintRow(results.back(), all);
        }
      }
    }
  }
  if (!options.json.empty()) {
    std::ofstream(options.json) << Json(options, one, all, load, results);
  }
  return 0;
}

}  // namespace
}  // namespace lfm2

int main(int argc, char** argv) {
  lfm2::Options options;
  CLI::App app{"Matrix kernels beside the machine's read bandwidth"};
  app.add_option("--threads", options.threads, "default: all cores");
  app.add_option("--isa", options.isas,
                 "portable, avx2, avx512, avx512_bf16, amx; default: the best")
      ->delimiter(',');
  app.add_option("--formats", options.formats)->delimiter(',');
  app.add_option("--shapes", options.shapes, "ROWSxCOLS")->delimiter(',');
  app.add_option("--tokens", options.tokens)->delimiter(',');
  app.add_option("--cold_bytes", options.cold_bytes,
                 "of a shape's matrices together, at least: what no cache holds");
  app.add_option("--seconds", options.seconds, "of each measurement");
  app.add_flag("--cpu_time", lfm2::cpu_clock,
               "count the calling thread's processor time: for one thread on a busy machine");
  app.add_option("--json", options.json, "file to write");
  CLI11_PARSE(app, argc, argv);
  if (options.isas.empty()) options.isas = {""};
  return lfm2::Run(options);
}
