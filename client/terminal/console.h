// Where the program reads and writes, and how it lays out what people read. Data goes to `out`, all
// else to `err`. Thread rule: one thread. Ownership: borrows its streams.
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

// Writes and flushes. OutputClosed() when the reader has gone (EPIPE), so that a verb ends its work
// quietly; kDiskFull, kStorageIoError for any other reason, which stays that of every later write.
absl::Status Write(Console& console, std::string_view text);
absl::Status WriteLine(Console& console, std::string_view text);
// One line of JSON; text that is not UTF-8 is shown with U+FFFD.
absl::Status WriteJson(Console& console, const Json& value);
std::string DumpJson(const Json& value);

// A line for a person, on stderr; nothing with -q.
void Remark(Console& console, std::string_view text);

// Left-aligned columns with two spaces between; the last is not padded.
using Row = std::vector<std::string>;
std::string RenderTable(const Row& header, const std::vector<Row>& rows);

// One line on a terminal's stderr that is drawn over; does nothing elsewhere. Clears itself when it
// goes.
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

// Characters that a UTF-8 text takes on a terminal, counting one a code point.
size_t DisplayWidth(std::string_view text);
bool IsValidUtf8(std::string_view text);

}  // namespace lfm2
