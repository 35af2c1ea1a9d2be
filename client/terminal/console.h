// The program's input and output, and the layout of what people read. Data goes to `out`,
// everything else to `err`. Thread rule: one thread. Ownership: borrows its streams.
#pragma once

#include <iosfwd>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace lfm2 {

using Json = nlohmann::ordered_json;

enum class OutputFormat { kTable, kJson, kJsonl };

struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool color = false;    // set from the terminal, --no_color and NO_COLOR
  bool quiet = false;    // -q: no progress and no remarks
  bool unicode = false;  // the locale can show braille and block characters
  int columns = 80;

  bool ShowsProgress() const { return err_is_terminal && !quiet; }
};

// Writes and flushes. OutputClosed() when the reader has gone (EPIPE), so that a verb can end
// quietly; kDiskFull or kStorageIoError otherwise. Every later write returns the same error.
absl::Status Write(Console& console, std::string_view text);
absl::Status WriteLine(Console& console, std::string_view text);
// One line of JSON; text that is not UTF-8 is shown with U+FFFD.
absl::Status WriteJson(Console& console, const Json& value);
std::string DumpJson(const Json& value);

// Prints a line for people on stderr; nothing with -q.
void Remark(Console& console, std::string_view text);

// Left-aligned columns with two spaces between; the last is not padded.
using Row = std::vector<std::string>;
std::string RenderTable(const Row& header, const std::vector<Row>& rows);

// A status line on stderr that is overwritten in place; does nothing when stderr is not a terminal.
// The destructor clears it.
class StatusLine {
 public:
  explicit StatusLine(Console& console) : console_(console) {}
  ~StatusLine() { Clear(); }
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;
  void Show(std::string_view text);
  void Clear();

 private:
  Console& console_;
  bool shown_ = false;
};

// The width of a UTF-8 text on a terminal, counting one column per code point.
size_t DisplayWidth(std::string_view text);
bool IsValidUtf8(std::string_view text);

}  // namespace lfm2
