#include "client/terminal/console.h"

#include <string.h>

#include <algorithm>
#include <cerrno>
#include <istream>
#include <ostream>

#include "base/disk_full.h"
#include "base/errors.h"
#include "client/terminal/exit_status.h"

namespace lfm2 {
namespace {

// The index at which a stream stores the errno of its first failed write; later writes fail too.
long& ErrorOf(std::ostream& out) {
  static const int kPlace = std::ios_base::xalloc();
  return out.iword(kPlace);
}

// Bytes of the UTF-8 sequence that starts `text`, or 0 when it is not one (RFC 3629, table of
// well-formed sequences).
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                        : (lead & 0xF0) == 0xE0        ? 3
                        : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                       : 0;
  if (length == 0 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const unsigned char second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return 0;
  if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return 0;
  return length;
}

}  // namespace

absl::Status Write(Console& console, std::string_view text) {
  if (console.out.good()) {
    errno = 0;
    console.out.write(text.data(), static_cast<std::streamsize>(text.size()));
    console.out.flush();
    if (console.out.good()) return absl::OkStatus();
    ErrorOf(console.out) = errno;
  }
  const int error = static_cast<int>(ErrorOf(console.out));
  if (error == EPIPE) return OutputClosed();
  return Error(MeansDiskFull(error) ? Reason::kDiskFull : Reason::kStorageIoError,
               std::string("writing standard output: ") + strerror(error));
}

absl::Status WriteLine(Console& console, std::string_view text) {
  return Write(console, std::string(text) + "\n");
}

std::string DumpJson(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::Status WriteJson(Console& console, const Json& value) {
  return WriteLine(console, DumpJson(value));
}

void Remark(Console& console, std::string_view text) {
  if (!console.quiet) console.err << text << "\n" << std::flush;
}

std::string RenderTable(const Row& header, const std::vector<Row>& rows) {
  std::vector<size_t> widths;
  for (const std::string& cell : header) widths.push_back(DisplayWidth(cell));
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], DisplayWidth(row[i]));
    }
  }
  std::string text;
  const auto add = [&](const Row& row) {
    for (size_t i = 0; i < row.size(); ++i) {
      text += row[i];
      if (i + 1 == row.size()) continue;
      text.append(widths[i] - DisplayWidth(row[i]) + 2, ' ');
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    text += '\n';
  };
  add(header);
  for (const Row& row : rows) add(row);
  return text;
}

void StatusLine::Show(std::string_view text) {
  if (!console_.ShowsProgress()) return;
  const size_t limit = static_cast<size_t>(std::max(console_.columns - 1, 10));
  std::string line(text);
  while (DisplayWidth(line) > limit) line.pop_back();
  while (!IsValidUtf8(line)) line.pop_back();
  console_.err << "\r\x1b[K" << line << std::flush;
  shown_ = true;
}

void StatusLine::Clear() {
  if (shown_) console_.err << "\r\x1b[K" << std::flush;
  shown_ = false;
}

size_t DisplayWidth(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace lfm2
