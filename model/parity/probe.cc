#include "model/parity/probe.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace lfm2 {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr char kLogits[] = "logits";

// A NaN differs infinitely from anything; a plain comparison would accept it.
double Distance(double a, double b) {
  if (a == b) return 0;
  const double difference = std::abs(a - b);
  return std::isnan(difference) ? kInfinity : difference;
}

double MaxDistance(std::span<const float> a, std::span<const float> b) {
  double worst = 0;
  for (size_t i = 0; i < a.size(); ++i) worst = std::max(worst, Distance(a[i], b[i]));
  return worst;
}

double ElementCount(const Probe& probe) {
  double count = 1;
  for (const int64_t size : probe.shape) count *= static_cast<double>(size);
  return std::max(count, 1.0);
}

// Statistics per element (sum / n, norm / sqrt(n)), so that the tolerance for elements applies.
double FigureDistance(const Probe& a, const Probe& b) {
  const double count = ElementCount(a);
  return std::max({Distance(a.sum, b.sum) / count, Distance(a.abs_mean, b.abs_mean),
                   Distance(a.max, b.max), Distance(a.norm, b.norm) / std::sqrt(count)});
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

std::span<const float> ValuesOf(const ParityReport& report, const Probe& probe) {
  return probe.values.empty() && probe.name == kLogits ? report.logits : probe.values;
}

const Probe* Find(const ParityReport& report, const std::string& name) {
  const auto found = std::find_if(report.probes.begin(), report.probes.end(),
                                  [&](const Probe& probe) { return probe.name == name; });
  return found == report.probes.end() ? nullptr : &*found;
}

ProbeDifference OnlyOnOneSide(const std::string& name, const char* note) {
  return {name, kInfinity, 0, true, note};
}

ProbeDifference CompareProbe(const ParityReport& ours, const Probe& a, const ParityReport& theirs,
                             const Probe& b, double tolerance) {
  ProbeDifference out;
  out.name = a.name;
  out.tolerance = tolerance * std::max({1.0, a.max, b.max});
  if (!std::isfinite(out.tolerance)) out.tolerance = tolerance;
  if (a.shape != b.shape) {
    out.max_abs_difference = kInfinity;
    out.note = absl::StrCat("shape ", ShapeText(a.shape), " against ", ShapeText(b.shape));
  } else if (const auto x = ValuesOf(ours, a), y = ValuesOf(theirs, b);
             !x.empty() && x.size() == y.size()) {
    out.max_abs_difference = MaxDistance(x, y);
  } else {
    out.max_abs_difference = FigureDistance(a, b);
  }
  out.differs = !(out.max_abs_difference <= out.tolerance);
  return out;
}

}  // namespace

int64_t ParityReport::first_logits() const {
  if (logits_shape.size() != 2 || logits_shape[1] == 0) return 0;
  return logits_shape[0] - static_cast<int64_t>(logits.size()) / logits_shape[1];
}

int64_t ParityReport::bytes() const {
  size_t floats = logits.capacity();
  for (const Probe& probe : probes) floats += probe.values.capacity();
  return static_cast<int64_t>(floats * sizeof(float));
}

ParityComparison CompareReports(const ParityReport& ours, const ParityReport& theirs,
                                double tolerance) {
  ParityComparison out;
  for (const Probe& probe : ours.probes) {
    const Probe* other = Find(theirs, probe.name);
    out.probes.push_back(other == nullptr ? OnlyOnOneSide(probe.name, "only here")
                                          : CompareProbe(ours, probe, theirs, *other, tolerance));
  }
  for (const Probe& probe : theirs.probes) {
    if (Find(ours, probe.name) == nullptr) {
      out.probes.push_back(OnlyOnOneSide(probe.name, "only there"));
    }
  }
  for (const ProbeDifference& difference : out.probes) {
    if (!difference.differs) continue;
    out.first_difference = difference.name;
    break;
  }
  out.max_logit_difference =
      ours.logits_shape == theirs.logits_shape && ours.logits.size() == theirs.logits.size()
          ? MaxDistance(ours.logits, theirs.logits)
          : kInfinity;
  return out;
}

}  // namespace lfm2
