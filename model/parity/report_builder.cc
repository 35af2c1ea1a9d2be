#include "model/parity/report_builder.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace lfm2 {
namespace {

constexpr char kLogits[] = "logits";

int64_t ElementsOf(const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

}  // namespace

void ReportBuilder::Count(std::span<const float> values, Probe& probe, Sums& sums) const {
  for (const float value : values) {
    const double exact = value, magnitude = std::abs(exact);
    probe.sum += exact;
    sums.magnitudes += magnitude;
    sums.squares += exact * exact;
    if (magnitude > probe.max || std::isnan(magnitude)) probe.max = magnitude;  // a NaN stays
  }
}

void ReportBuilder::Add(const std::string& name, std::span<const float> values,
                        const std::vector<int64_t>& shape) {
  const bool keeps = keep_.values && name != kLogits;  // logits are kept per position
  if (first_chunk()) {
    Probe& probe = report_.probes.emplace_back();
    probe.name = name;
    probe.shape = shape;
    probe.shape[0] = tokens_;
    sums_.emplace_back();
    if (keeps) {
      const auto size = static_cast<size_t>(ElementsOf(probe.shape));
      probe.values.reserve(size);
      bytes_ += static_cast<int64_t>(size * sizeof(float));
    }
  }
  Probe& probe = report_.probes[next_];
  Count(values, probe, sums_[next_]);
  if (keeps) probe.values.insert(probe.values.end(), values.begin(), values.end());
  ++next_;
}

void ReportBuilder::AddLogits(std::span<const float> logits, int64_t vocab) {
  const auto width = static_cast<size_t>(vocab);
  const auto rows = static_cast<int64_t>(logits.size() / width);
  const bool first = first_chunk();
  Add(kLogits, logits, {rows, vocab});
  if (first) {
    report_.logits_shape = {tokens_, vocab};
    const int64_t kept = keep_.all_logits ? tokens_ : 1;
    report_.logits.reserve(static_cast<size_t>(kept) * width);
    bytes_ += kept * vocab * static_cast<int64_t>(sizeof(float));
  }
  next_ = 0;
  rows_ += rows;
  if (!keep_.all_logits && rows_ < tokens_) return;
  const auto kept = keep_.all_logits ? logits : logits.last(width);
  report_.logits.insert(report_.logits.end(), kept.begin(), kept.end());
}

ParityReport ReportBuilder::Finish() {
  for (size_t i = 0; i < report_.probes.size(); ++i) {
    Probe& probe = report_.probes[i];
    probe.abs_mean =
        sums_[i].magnitudes / static_cast<double>(std::max<int64_t>(1, ElementsOf(probe.shape)));
    probe.norm = std::sqrt(sums_[i].squares);
  }
  return std::exchange(report_, ParityReport());
}

}  // namespace lfm2
