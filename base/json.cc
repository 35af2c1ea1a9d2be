#include "base/json.h"

#include <unordered_set>
#include <vector>

#include "base/errors.h"

namespace lfm2 {
namespace {

// Builds the value from nlohmann's SAX events, so that depth and duplicate keys are seen before
// they cost anything.
class LimitedBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit LimitedBuilder(const JsonLimits& limits) : limits_(limits) {}

  bool null() override { return Put(nullptr); }
  bool boolean(bool value) override { return Put(value); }
  bool number_integer(number_integer_t value) override { return Put(value); }
  bool number_unsigned(number_unsigned_t value) override { return Put(value); }
  bool number_float(number_float_t value, const string_t&) override { return Put(value); }
  bool string(string_t& value) override { return Put(std::move(value)); }
  bool binary(binary_t&) override { return Fail("binary values are not JSON"); }
  bool start_object(size_t) override { return Open(Json::object()); }
  bool start_array(size_t) override { return Open(Json::array()); }
  bool end_object() override { return CloseTop(); }
  bool end_array() override { return CloseTop(); }

  bool key(string_t& name) override {
    if (!keys_.back().insert(name).second) {
      return Fail("key \"" + name.substr(0, 64) + "\" appears twice in one object");
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& e) override {
    std::string_view what = e.what();
    const size_t start = what.find("parse error");
    // nlohmann puts its own code in front and the position behind; only the sentence is of use.
    if (start != std::string_view::npos) what.remove_prefix(start);
    position_ = static_cast<int64_t>(position);
    return Fail(std::string(what.substr(0, 200)));
  }

  const std::string& error() const { return error_; }
  int64_t position() const { return position_; }
  Json Take() { return std::move(root_); }

 private:
  bool Fail(std::string rule) {
    error_ = std::move(rule);
    return false;
  }

  Json* Place(Json value) {
    if (stack_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *stack_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    // push_back on the underlying vector: the set of keys has already shown that the key is new.
    auto& members = parent.get_ref<Json::object_t&>();
    members.push_back(Json::object_t::value_type(std::move(key_), std::move(value)));
    return &members.back().second;
  }

  bool Put(Json value) {
    Place(std::move(value));
    return true;
  }

  bool Open(Json container) {
    if (static_cast<int64_t>(stack_.size()) >= limits_.depth) {
      return Fail("nesting is deeper than the limit of " + std::to_string(limits_.depth));
    }
    stack_.push_back(Place(std::move(container)));
    keys_.emplace_back();
    return true;
  }

  bool CloseTop() {
    stack_.pop_back();
    keys_.pop_back();
    return true;
  }

  JsonLimits limits_;
  Json root_;
  // A parent does not grow while a child is open, so these stay valid.
  std::vector<Json*> stack_;
  std::vector<std::unordered_set<std::string>> keys_;
  std::string key_;
  std::string error_;
  int64_t position_ = -1;
};

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (static_cast<int64_t>(text.size()) > limits.bytes) {
    return Error(Reason::kInvalidArgument, "JSON of " + std::to_string(text.size()) +
                                               " bytes is over the limit of " +
                                               std::to_string(limits.bytes));
  }
  LimitedBuilder builder(limits);
  try {
    if (Json::sax_parse(text.begin(), text.end(), &builder)) return builder.Take();
  } catch (const std::exception& e) {
    return Error(Reason::kInvalidArgument, std::string("JSON cannot be read: ") + e.what());
  }
  Metadata metadata = {{"rule", builder.error()}};
  std::string message = "JSON: " + builder.error();
  if (builder.position() >= 0) {
    metadata["offset"] = std::to_string(builder.position());
    message += " (at byte " + std::to_string(builder.position()) + ")";
  }
  return Error(Reason::kInvalidArgument, message, std::move(metadata));
}

std::string SpacedJson(const Json& json) {
  if (!json.is_structured()) return json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  for (const auto& item : json.items()) {
    if (!out.empty()) out += ", ";
    if (json.is_object()) out += SpacedJson(Json(item.key())) + ": ";
    out += SpacedJson(item.value());
  }
  return json.is_object() ? "{" + out + "}" : "[" + out + "]";
}

}  // namespace lfm2
