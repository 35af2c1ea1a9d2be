// SHA-256 as lower-case hexadecimal, incremental or of a whole text. Thread rule: one thread per
// object.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace lfm2 {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(std::string_view bytes);
  std::string Hex();  // call once, last

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string Sha256Hex(std::string_view bytes);
// 64 lower-case hexadecimal digits.
bool IsSha256Hex(std::string_view text);

}  // namespace lfm2
