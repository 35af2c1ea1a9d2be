// Reads lines of JSON and answers each with one, so that a script can compare this tokenizer with
// another library:
//   {"text": ..., "add_special": ..., "parse_special": ...} -> {"ids": [...], "decoded": ...,
//   "streamed": ...}
//   {"ids": [...], "skip_special": ...}                     -> {"decoded": ..., "streamed": ...}
// or {"error": ...}. Usage: lfm2_tokenize_check TOKENIZER < lines
#include <iostream>
#include <string>

#include "base/json.h"
#include "model/tokenizer/load_tokenizer.h"
#include "model/tokenizer/stream_decoder.h"
#include "model/tokenizer/tokenizer.h"

namespace lfm2 {
namespace {

Json ErrorAnswer(const absl::Status& status) {
  return Json{{"error", std::string(status.message())}};
}

Json DecodeAnswer(const Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool skip_special) {
  const absl::StatusOr<std::string> decoded = tokenizer.Decode(ids, skip_special);
  if (!decoded.ok()) return ErrorAnswer(decoded.status());
  StreamDecoder stream(tokenizer, skip_special);
  std::string streamed;
  for (int32_t id : ids) streamed += stream.Push(id);
  streamed += stream.Flush();
  return Json{{"decoded", *decoded}, {"streamed", streamed}};
}

Json Answer(const Tokenizer& tokenizer, const Json& request) {
  if (request.contains("ids")) {
    return DecodeAnswer(tokenizer, request["ids"].get<std::vector<int32_t>>(),
                        request.value("skip_special", true));
  }
  const EncodeOptions options = {request.value("add_special", true),
                                 request.value("parse_special", false)};
  const absl::StatusOr<std::vector<int32_t>> ids =
      tokenizer.Encode(request["text"].get<std::string>(), options);
  if (!ids.ok()) return ErrorAnswer(ids.status());
  Json answer = DecodeAnswer(tokenizer, *ids, true);
  answer["ids"] = *ids;
  return answer;
}

int Run(const char* path) {
  const absl::StatusOr<std::shared_ptr<const Tokenizer>> tokenizer = LoadTokenizer(path);
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status().message() << "\n";
    return 1;
  }
  for (std::string line; std::getline(std::cin, line);) {
    const absl::StatusOr<Json> request = ParseJson(line);
    if (!request.ok()) {
      std::cerr << request.status().message() << "\n";
      return 1;
    }
    std::cout << Answer(**tokenizer, *request).dump() << "\n";
  }
  return 0;
}

}  // namespace
}  // namespace lfm2

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: lfm2_tokenize_check TOKENIZER < lines.jsonl\n";
    return 2;
  }
  try {
    return lfm2::Run(argv[1]);
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
