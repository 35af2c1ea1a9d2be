// Collects what is wrong with a request: every violation with its field, and the reason if all
// violations share one. Thread rule: one thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/errors.h"

namespace lfm2 {

class RequestCheck {
 public:
  void Add(std::string_view field, std::string_view description,
           Reason reason = Reason::kInvalidArgument, Metadata metadata = {});
  // Adds the reason, metadata and violations of another check; OK adds nothing. A status without
  // violations is added as a violation of `field`.
  void Add(std::string_view field, const absl::Status& status);

  void Range(std::string_view field, int64_t value, int64_t low, int64_t high);
  // `inside` is written so that NaN fails; infinity always does.
  void Real(std::string_view field, double value, bool inside, std::string_view range);
  void Count(std::string_view field, int64_t count, int64_t limit);

  bool ok() const { return violations_.empty(); }
  // OK; the common reason with its metadata; or kInvalidArgument when the reasons differ.
  absl::Status ToStatus() const;

 private:
  std::vector<FieldViolation> violations_;
  Reason reason_ = Reason::kInvalidArgument;
  Metadata metadata_;
};

}  // namespace lfm2
