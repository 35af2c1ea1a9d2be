// lfm2_gemm_peak: the best rate of large matrix products that LibTorch's libraries (MKL, oneDNN,
// FBGEMM) reach on this machine, which a prefill is measured against. One line of JSON.
//
// Two shapes each: a square, and what a prompt of 512 tokens is in a feed-forward of LFM2 1.2B.
// "linear" of int8 takes and gives float32 as our kernels do; "product" is the bare integer
// product, without the rounding of activations and without scales. Operations: a multiplication
// and an addition are two. Each figure is the best of several runs.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace {

using Json = nlohmann::ordered_json;

struct Shape {
  int64_t tokens, cols, rows;  // x [tokens, cols], w [rows, cols]
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class GemmPeak {
 public:
  explicit GemmPeak(double seconds) : seconds_(seconds) {}

  void Run(const Shape& shape) {
    const at::Tensor x = at::randn({shape.tokens, shape.cols});
    const at::Tensor w = at::randn({shape.rows, shape.cols});
    Measure("f32", "linear", shape, [&] { at::linear(x, w); });
    const at::Tensor x16 = x.to(at::kBFloat16), w16 = w.to(at::kBFloat16);
    Measure("bf16", "linear", shape, [&] { at::linear(x16, w16); });
    for (const at::QEngine engine : at::globalContext().supportedQEngines()) {
      RunInt8Linear(engine, shape, x, w);
    }
    const at::Tensor x8 = at::randint(-127, 128, {shape.tokens, shape.cols}, at::kChar);
    const at::Tensor w8 = at::randint(-127, 128, {shape.rows, shape.cols}, at::kChar);
    Measure("int8", "product", shape, [&] { at::_int_mm(x8, w8.t()); });
  }

  const Json& results() const { return results_; }

 private:
  static at::IValue Call(const char* name, std::vector<at::IValue> stack) {
    c10::Dispatcher::singleton().findSchemaOrThrow(name, "").callBoxed(&stack);
    return stack.at(0);
  }

  void RunInt8Linear(at::QEngine engine, const Shape& shape, const at::Tensor& x,
                     const at::Tensor& w) {
    if (engine == at::QEngine::NoQEngine || engine == at::QEngine::QNNPACK) return;
    at::globalContext().setQEngine(engine);
    const at::Tensor quantized = at::quantize_per_tensor(w, 0.03, 0, at::kQInt8);
    const at::IValue packed = Call("quantized::linear_prepack", {quantized, at::IValue()});
    Measure("int8", "linear, " + toString(engine), shape, [&] {
      Call("quantized::linear_dynamic", {x, packed, false});
    });
  }

  // What a library does not have on this machine is no figure.
  void Measure(const std::string& type, const std::string& what, const Shape& shape,
               const std::function<void()>& body) try {
    body();
    double best = 1e30;
    const double end = Now() + seconds_;
    for (int runs = 0; runs < 3 || Now() < end; ++runs) {
      const double begin = Now();
      body();
      best = std::min(best, Now() - begin);
    }
    const double operations =
        2.0 * static_cast<double>(shape.tokens * shape.cols) * static_cast<double>(shape.rows);
    results_.push_back({{"type", type},
                        {"what", what},
                        {"shape", {shape.tokens, shape.cols, shape.rows}},
                        {"gop_s", operations / best / 1e9}});
  } catch (const std::exception& e) {
    std::cerr << type << " " << what << ": " << std::string(e.what()).substr(0, 200) << "\n";
  }

  const double seconds_;
  Json results_ = Json::array();
};

}  // namespace

int main(int argc, char** argv) {
  int threads = 0;
  double seconds = 2;
  int64_t side = 4096;
  CLI::App app{"The best rate of matrix products that LibTorch's libraries reach here"};
  app.add_option("--threads", threads, "0: as many as LibTorch takes");
  app.add_option("--seconds", seconds, "of each measurement, at least");
  app.add_option("--side", side, "of the square matrices")->check(CLI::Range(64, 16384));
  CLI11_PARSE(app, argc, argv);
  if (threads > 0) at::set_num_threads(threads);
  const at::NoGradGuard no_grad;
  GemmPeak peak(seconds);
  peak.Run({side, side, side});
  peak.Run({512, 2048, 8192});
  std::cout << Json{{"threads", at::get_num_threads()}, {"results", peak.results()}}.dump() << "\n";
  return 0;
}
