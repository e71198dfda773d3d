#include "json.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace sharcs::json {
namespace {

constexpr std::size_t kDepth = 256;

// Builds a Value from nlohmann's events; its own objects would drop duplicate keys silently.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return add(Value()); }
  bool boolean(bool value) override { return add(Value(value)); }
  bool number_integer(std::int64_t value) override { return add(Value(value)); }
  bool number_unsigned(std::uint64_t value) override {
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return add(Value(static_cast<std::int64_t>(value)));
    }
    return add(Value(Number{static_cast<double>(value), true}));
  }
  bool number_float(double value, const std::string& source) override {
    return add(Value(Number{value, source.find_first_of(".eE") == std::string::npos}));
  }
  bool string(std::string& value) override { return add(Value(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_array(std::size_t) override { return open(Value(Array{})); }
  bool start_object(std::size_t) override { return open(Value(Object{})); }
  bool key(std::string& value) override {
    stack_.back().as<Object>()->emplace_back(std::move(value), Value());
    return true;
  }
  bool end_array() override { return close(); }
  bool end_object() override {
    refuse_duplicates(*stack_.back().as<Object>());
    return close();
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) override {
    const std::string what = error.what();
    const std::size_t begin = what.find(": ");
    throw std::invalid_argument("byte " + std::to_string(position) + ": " +
                                (begin == std::string::npos ? what : what.substr(begin + 2)));
  }

  Value take() { return std::move(root_); }

 private:
  bool add(Value value) {
    if (stack_.empty()) {
      root_ = std::move(value);
    } else if (auto* array = stack_.back().as<Array>()) {
      array->push_back(std::move(value));
    } else {
      stack_.back().as<Object>()->back().second = std::move(value);
    }
    return true;
  }
  bool open(Value value) {
    if (stack_.size() >= kDepth) throw std::invalid_argument("the JSON is nested too deeply");
    stack_.push_back(std::move(value));
    return true;
  }
  bool close() {
    Value value = std::move(stack_.back());
    stack_.pop_back();
    return add(std::move(value));
  }
  static void refuse_duplicates(const Object& object) {
    std::vector<std::string_view> keys;
    keys.reserve(object.size());
    for (const auto& member : object) keys.push_back(member.first);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) throw std::invalid_argument("the key " + show(*twice) + " occurs twice in one object");
  }

  Value root_;
  std::vector<Value> stack_;
};

std::string cut(std::string text) { return text.size() <= 60 ? text : text.substr(0, 57) + "..."; }

}  // namespace

const Value* Value::find(std::string_view key) const {
  const auto* object = as<Object>();
  if (object == nullptr) return nullptr;
  for (const auto& member : *object) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

Value decode(std::string_view data) {
  if (data.substr(0, 3) == "\xef\xbb\xbf") throw std::invalid_argument("it begins with a byte order mark");
  Builder builder;
  nlohmann::json::sax_parse(data.begin(), data.end(), &builder);
  return builder.take();
}

std::string show(std::string_view text) { return cut(nlohmann::json(text).dump(-1, ' ', true)); }

std::string show(const Value& value) {
  if (value.as<Object>() != nullptr) return "an object";
  if (value.as<Array>() != nullptr) return "an array";
  if (const auto* text = value.as<std::string>()) return show(*text);
  if (const auto* flag = value.as<bool>()) return *flag ? "true" : "false";
  if (const auto* integer = value.as<std::int64_t>()) return std::to_string(*integer);
  if (const auto* number = value.as<Number>()) return nlohmann::json(number->value).dump();
  return "null";
}

}  // namespace sharcs::json
