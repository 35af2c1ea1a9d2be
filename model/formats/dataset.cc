#include "model/formats/dataset.h"

#include <fstream>

#include "base/errors.h"
#include "base/file_kinds.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/status_macros.h"

namespace lfm2 {
namespace {

constexpr int64_t kMaxPieceBytes = int64_t{1} << 30;
constexpr int64_t kReadBytes = 256 << 10;

// Buffered reading of one file; a disk error is not taken for the end of the file.
class ByteSource {
 public:
  ByteSource(std::ifstream stream, std::string name)
      : stream_(std::move(stream)), name_(std::move(name)) {}

  const std::string& name() const { return name_; }

  // Reads up to `bytes` bytes; fewer only at the end.
  absl::StatusOr<std::string> Read(int64_t bytes) {
    std::string out(static_cast<size_t>(bytes), '\0');
    stream_.read(out.data(), static_cast<std::streamsize>(bytes));
    if (stream_.bad()) {
      return Error(Reason::kStorageIoError, "reading \"" + name_ + "\" failed", {{"file", name_}});
    }
    out.resize(static_cast<size_t>(stream_.gcount()));
    return out;
  }

 private:
  std::ifstream stream_;
  std::string name_;
};

// Where to cut: after the last line break of the second half, else before a UTF-8 character that is
// not whole, else at the end.
size_t CutPoint(std::string_view text) {
  const size_t line = text.rfind('\n');
  if (line != std::string_view::npos && line + 1 >= text.size() / 2) return line + 1;
  size_t lead = text.size();
  while (lead > 0 && text.size() - lead < 4) {
    const unsigned char c = static_cast<unsigned char>(text[--lead]);
    if ((c & 0xC0) == 0x80) continue;
    const size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    return lead > 0 && lead + length > text.size() ? lead : text.size();
  }
  return text.size();
}

class TextReader : public DatasetReader {
 public:
  TextReader(ByteSource source, int64_t piece_bytes)
      : source_(std::move(source)), piece_bytes_(piece_bytes) {}

  absl::StatusOr<std::optional<DocumentPiece>> Next() override {
    // Reads one byte more than a piece, to see whether anything follows.
    const int64_t wanted = piece_bytes_ + 1 - static_cast<int64_t>(pending_.size());
    LFM2_ASSIGN_OR_RETURN(const std::string more, source_.Read(wanted));
    pending_ += more;
    if (pending_.empty()) return std::optional<DocumentPiece>();
    DocumentPiece piece;
    piece.continues = static_cast<int64_t>(pending_.size()) > piece_bytes_;
    const std::string_view whole(pending_);
    const size_t cut =
        piece.continues ? CutPoint(whole.substr(0, pending_.size() - 1)) : pending_.size();
    piece.text = pending_.substr(0, cut);
    pending_.erase(0, cut);
    return std::optional<DocumentPiece>(std::move(piece));
  }

 private:
  ByteSource source_;
  int64_t piece_bytes_;
  std::string pending_;
};

class JsonlReader : public DatasetReader {
 public:
  JsonlReader(ByteSource source, int64_t piece_bytes)
      : source_(std::move(source)), piece_bytes_(static_cast<size_t>(piece_bytes)) {}

  absl::StatusOr<std::optional<DocumentPiece>> Next() override {
    while (text_.empty()) {
      LFM2_ASSIGN_OR_RETURN(const std::optional<std::string> line, NextLine());
      if (!line) return std::optional<DocumentPiece>();
      if (line->find_first_not_of(" \t\r") == std::string::npos) continue;
      LFM2_ASSIGN_OR_RETURN(text_, TextOf(*line));
      // An empty document counts: it is returned, not skipped.
      if (text_.empty()) return std::optional<DocumentPiece>(DocumentPiece{});
    }
    DocumentPiece piece;
    piece.continues = text_.size() > piece_bytes_;
    const size_t cut =
        piece.continues ? CutPoint(std::string_view(text_).substr(0, piece_bytes_)) : text_.size();
    piece.text = text_.substr(0, cut);
    text_.erase(0, cut);
    return std::optional<DocumentPiece>(std::move(piece));
  }

 private:
  absl::Status Invalid(const std::string& rule) const {
    const std::string line = std::to_string(line_);
    return Error(Reason::kDatasetInvalid, source_.name() + " line " + line + ": " + rule,
                 {{"file", source_.name()}, {"line", line}, {"rule", rule}});
  }

  absl::StatusOr<std::optional<std::string>> NextLine() {
    ++line_;
    std::string line;
    while (true) {
      const size_t end = block_.find('\n', position_);
      if (end != std::string::npos) {
        line.append(block_, position_, end - position_);
        position_ = end + 1;
        LFM2_RETURN_IF_ERROR(CheckLength(line));
        return std::optional<std::string>(std::move(line));
      }
      line.append(block_, position_, std::string::npos);
      LFM2_RETURN_IF_ERROR(CheckLength(line));
      LFM2_ASSIGN_OR_RETURN(block_, source_.Read(kReadBytes));
      position_ = 0;
      if (!block_.empty()) continue;
      if (line.empty()) return std::optional<std::string>();
      return std::optional<std::string>(std::move(line));
    }
  }

  absl::Status CheckLength(const std::string& line) const {
    if (static_cast<int64_t>(line.size()) <= kDefaultLimits.jsonl_line_bytes) {
      return absl::OkStatus();
    }
    return Invalid("is longer than the limit of " +
                   std::to_string(kDefaultLimits.jsonl_line_bytes) + " bytes");
  }

  absl::StatusOr<std::string> TextOf(const std::string& line) const {
    absl::StatusOr<Json> root = ParseJson(line);
    if (!root.ok()) return Invalid(std::string(root.status().message()));
    if (!root->is_object()) return Invalid("is not an object");
    const auto text = root->find("text");
    if (text == root->end()) return Invalid("has no \"text\"");
    if (!text->is_string()) return Invalid("has a \"text\" that is not a string");
    return text->get<std::string>();
  }

  ByteSource source_;
  size_t piece_bytes_;
  int64_t line_ = 0;
  std::string block_;
  size_t position_ = 0;
  std::string text_;  // the rest of the current document
};

}  // namespace

DatasetFormat DatasetFormatOf(std::string_view file_name) {
  return IsJsonLinesFile(file_name) ? DatasetFormat::kJsonl : DatasetFormat::kText;
}

absl::StatusOr<std::unique_ptr<DatasetReader>> DatasetReader::Open(
    const std::filesystem::path& path, DatasetFormat format, int64_t piece_bytes) {
  const std::string name = path.filename().string();
  if (piece_bytes < 4 || piece_bytes > kMaxPieceBytes) {
    return Error(Reason::kInvalidArgument, "piece_bytes is " + std::to_string(piece_bytes) +
                                               ", must be from 4 to " +
                                               std::to_string(kMaxPieceBytes));
  }
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return Error(Reason::kFileNotFound, "no regular file is named \"" + name + "\"",
                 {{"file", name}});
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return Error(Reason::kStorageIoError, "opening \"" + name + "\" failed", {{"file", name}});
  }
  ByteSource source(std::move(stream), name);
  if (format == DatasetFormat::kJsonl) {
    return std::unique_ptr<DatasetReader>(new JsonlReader(std::move(source), piece_bytes));
  }
  return std::unique_ptr<DatasetReader>(new TextReader(std::move(source), piece_bytes));
}

}  // namespace lfm2
