// Strict JSON: UTF-8 only, no key twice in an object, no NaN, no lone surrogate (SPEC.md, section 2.1).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace sharcs::json {

class Value;
using Array = std::vector<Value>;
using Object = std::vector<std::pair<std::string, Value>>;  // in the order of the file

// A number that int64 cannot hold, or that has a point or an exponent; `integral`: it has neither.
struct Number {
  double value;
  bool integral;
};

class Value {
 public:
  using Content = std::variant<std::nullptr_t, bool, std::int64_t, Number, std::string, Array, Object>;

  Value() : content_(nullptr) {}
  explicit Value(Content content) : content_(std::move(content)) {}

  bool is_null() const { return std::holds_alternative<std::nullptr_t>(content_); }
  // The content as T, or nullptr if it is of another type.
  template <typename T>
  const T* as() const {
    return std::get_if<T>(&content_);
  }
  template <typename T>
  T* as() {
    return std::get_if<T>(&content_);
  }
  // The member of an object; nullptr if this is no object or has none of that name.
  const Value* find(std::string_view key) const;

 private:
  Content content_;
};

// Throws std::invalid_argument with one clear sentence.
Value decode(std::string_view data);

// A short, printable form for a message.
std::string show(const Value& value);
std::string show(std::string_view text);

}  // namespace sharcs::json
