#include "server/rpc/transport/request_check.h"

#include <cmath>

#include "absl/strings/str_cat.h"

namespace lfm2 {

void RequestCheck::Add(std::string_view field, std::string_view description, Reason reason,
                       Metadata metadata) {
  if (violations_.empty()) {
    reason_ = reason;
    metadata_ = std::move(metadata);
  } else if (reason_ != reason) {
    reason_ = Reason::kInvalidArgument;
    metadata_.clear();
  }
  violations_.push_back({std::string(field), std::string(description)});
}

void RequestCheck::Add(std::string_view field, const absl::Status& status) {
  if (status.ok()) return;
  const ErrorDetails details = DetailsOf(status);
  if (details.violations.empty()) {
    std::string_view message(status.message().data(), status.message().size());
    // Removes the field's name from a message: it is added again in front of the description.
    if (message.starts_with(std::string(field) + " ")) message.remove_prefix(field.size() + 1);
    Add(field, message, details.reason, details.metadata);
  }
  for (const FieldViolation& violation : details.violations) {
    Add(std::string(field) + "." + violation.field, violation.description, details.reason,
        details.metadata);
  }
}

void RequestCheck::Range(std::string_view field, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  Add(field, absl::StrCat("is ", value, ", must be ", low, " to ", high));
}

void RequestCheck::Real(std::string_view field, double value, bool inside, std::string_view range) {
  if (inside && std::isfinite(value)) return;
  Add(field, absl::StrCat("is ", value, ", must be ", std::string(range)));
}

void RequestCheck::Count(std::string_view field, int64_t count, int64_t limit) {
  if (count <= limit) return;
  Add(field, absl::StrCat("has ", count, " entries, limit ", limit));
}

absl::Status RequestCheck::ToStatus() const {
  if (violations_.empty()) return absl::OkStatus();
  ErrorDetails details;
  details.reason = reason_;
  details.metadata = metadata_;
  details.violations = violations_;
  return WithViolations(details);
}

}  // namespace lfm2
