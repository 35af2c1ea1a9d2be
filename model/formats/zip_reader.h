// One pass over the members of a zip in memory, with libarchive. The output is limited in
// proportion to the input, so a zip bomb is refused before it is expanded. Used by the NPZ and the
// .pt reader. Not thread-safe; borrows `bytes` and `file`.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

struct archive;

namespace lfm2 {

class ZipReader {
 public:
  using Buffer = std::vector<std::byte>;

  // `file` is the name used in messages. Here and in all other methods, anything wrong with the zip
  // is kModelFileInvalid.
  static absl::StatusOr<ZipReader> Open(std::string_view file, std::span<const std::byte> bytes);

  // The next member's name; nullopt at the end. Refuses members that are not regular files.
  absl::StatusOr<std::optional<std::string>> NextMember();
  // Exactly `bytes` bytes of the current member; fewer is an error.
  absl::StatusOr<Buffer> Read(int64_t bytes);
  // The rest of the current member; more than max_bytes is an error.
  absl::StatusOr<Buffer> ReadRest(int64_t max_bytes);
  absl::Status ExpectMemberEnd();
  // An error about the current member.
  absl::Status Invalid(std::string_view rule) const;

 private:
  struct Closer {
    void operator()(archive* a) const;
  };

  ZipReader(std::string_view file, int64_t budget) : file_(file), budget_(budget) {}
  absl::StatusOr<int64_t> ReadSome(std::byte* out, int64_t bytes);
  absl::Status OverBudget() const;
  absl::Status Broken() const;

  std::string_view file_;
  std::unique_ptr<archive, Closer> archive_;
  std::string member_;
  int64_t members_ = 0;
  int64_t budget_;  // bytes that may still be expanded
};

}  // namespace lfm2
