// What every reader of tensors promises, checked on whatever it accepted: sizes agree and every
// byte can be read.
#pragma once

#include <cstdlib>
#include <set>
#include <string>

#include "absl/status/statusor.h"
#include "model/formats/tensor_archive.h"

namespace lfm2 {

inline void CheckArchive(const absl::StatusOr<TensorArchive>& archive) {
  if (!archive.ok()) return;
  unsigned sum = 0;
  std::set<std::string> names;
  for (const TensorView& tensor : archive->tensors) {
    const absl::StatusOr<int64_t> bytes = BytesOf(tensor.dtype, tensor.shape);
    if (!bytes.ok() || *bytes != tensor.bytes) std::abort();
    if (!names.insert(tensor.name).second) std::abort();
    for (int64_t i = 0; i < tensor.bytes; ++i) sum += std::to_integer<unsigned>(tensor.data[i]);
  }
  volatile unsigned sink = sum;
  static_cast<void>(sink);
}

}  // namespace lfm2
