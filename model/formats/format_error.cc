#include "model/formats/format_error.h"

#include <string>

#include "base/errors.h"

namespace lfm2 {

absl::Status FileInvalid(std::string_view file, int64_t offset, std::string_view rule) {
  const std::string at = std::to_string(offset);
  std::string message = std::string(file) + ": " + std::string(rule) + " (at byte " + at + ")";
  return Error(Reason::kModelFileInvalid, message,
               {{"file", std::string(file)}, {"offset", at}, {"rule", std::string(rule)}});
}

}  // namespace lfm2
