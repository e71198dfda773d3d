// Readers of JSON values: a violation is recorded as "<what> @ <path>" and reading goes on, so that one run reports all.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "error.h"
#include "json.h"

namespace sharcs {

void fail(Problems& problems, const std::string& what, const std::string& path);
// The JSON path of a member.
std::string child(const std::string& path, std::string_view key);

// Each reader gives the value, or nothing and a problem.
std::optional<std::string> read_text(const json::Value& value, const std::string& path, Problems& problems);
std::optional<bool> read_bool(const json::Value& value, const std::string& path, Problems& problems);
std::optional<std::string> read_sha256(const json::Value& value, const std::string& path, Problems& problems);
std::optional<std::string> read_one_of(const json::Value& value, const std::string& path, Problems& problems,
                                       std::initializer_list<const char*> allowed);

// Binds the bounds of a number: integers in minimum..2^63-1, numbers in [minimum, maximum] or (minimum, maximum].
struct Integer {
  std::int64_t minimum;
  std::int64_t maximum = INT64_MAX;
  std::optional<std::int64_t> operator()(const json::Value& value, const std::string& path, Problems& problems) const;
};
struct Range {
  double minimum;
  double maximum;
  bool above_minimum = false;
  std::optional<double> operator()(const json::Value& value, const std::string& path, Problems& problems) const;
};

// An array whose items `item` reads; nothing if any of them is wrong.
template <typename T, typename Reader>
std::optional<std::vector<T>> read_array(const json::Value& value, const std::string& path, Problems& problems, Reader item,
                                         bool may_be_empty = false) {
  const auto* array = value.as<json::Array>();
  if (array == nullptr) {
    fail(problems, "expected an array, got " + json::show(value), path);
    return std::nullopt;
  }
  if (array->empty() && !may_be_empty) {
    fail(problems, "expected an array that is not empty", path);
    return std::nullopt;
  }
  std::vector<T> items;
  bool sound = true;
  for (std::size_t index = 0; index < array->size(); ++index) {
    std::optional<T> one = item((*array)[index], path + "[" + std::to_string(index) + "]", problems);
    if (one) items.push_back(std::move(*one));
    sound = sound && one;
  }
  return sound ? std::optional(std::move(items)) : std::nullopt;
}

// An object with free keys, each value read by `item`, whose result only says whether it was sound.
bool read_mapping(const json::Value& value, const std::string& path, Problems& problems,
                  const std::function<bool(const json::Value&, const std::string&, Problems&)>& item);
// An object with free keys and texts.
std::optional<std::map<std::string, std::string>> read_texts(const json::Value& value, const std::string& path,
                                                             Problems& problems);

// An object with exactly these fields.
class Fields {
 public:
  Fields(const json::Value& value, std::string path, Problems& problems, std::initializer_list<const char*> names);

  // The field, read by `reader`; nothing (and a problem) if it is missing or wrong.
  template <typename Reader, typename... Extra>
  auto read(const char* name, Reader reader, Extra... extra) const
      -> decltype(reader(std::declval<const json::Value&>(), std::string(), std::declval<Problems&>(), extra...)) {
    const json::Value* found = find(name);
    if (found == nullptr) return {};
    return reader(*found, child(path_, name), problems_, extra...);
  }
  // As `read`, where null is a value too: the outer option says whether it is sound, the inner one whether it is null.
  template <typename T, typename Reader>
  std::optional<std::optional<T>> read_or_null(const char* name, Reader reader) const {
    const json::Value* found = find(name);
    if (found == nullptr) return std::nullopt;
    if (found->is_null()) return std::optional<T>();
    std::optional<T> value = reader(*found, child(path_, name), problems_);
    return value ? std::optional(value) : std::nullopt;
  }

 private:
  const json::Value* find(const char* name) const;

  const json::Value& value_;
  std::string path_;
  Problems& problems_;
};

}  // namespace sharcs
