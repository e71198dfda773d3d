#include "fields.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "text.h"

namespace sharcs {
namespace {

bool is_identifier(std::string_view key) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !key.empty() && letter(key[0]) &&
         std::all_of(key.begin(), key.end(), [&](char c) { return letter(c) || digit(c); });
}

}  // namespace

void fail(Problems& problems, const std::string& what, const std::string& path) { problems.push_back(what + " @ " + path); }

std::string child(const std::string& path, std::string_view key) {
  return is_identifier(key) ? path + "." + std::string(key) : path + "[" + json::show(key) + "]";
}

std::optional<std::string> read_text(const json::Value& value, const std::string& path, Problems& problems) {
  const auto* text = value.as<std::string>();
  if (text == nullptr) {
    fail(problems, "expected a string, got " + json::show(value), path);
    return std::nullopt;
  }
  if (text->empty()) {
    fail(problems, "expected a string that is not empty", path);
    return std::nullopt;
  }
  return *text;
}

std::optional<bool> read_bool(const json::Value& value, const std::string& path, Problems& problems) {
  if (const auto* flag = value.as<bool>()) return *flag;
  fail(problems, "expected true or false, got " + json::show(value), path);
  return std::nullopt;
}

std::optional<std::string> read_sha256(const json::Value& value, const std::string& path, Problems& problems) {
  const auto* text = value.as<std::string>();
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (text != nullptr && text->size() == 64 && std::all_of(text->begin(), text->end(), hex)) return *text;
  fail(problems, "expected a SHA-256 of 64 lower-case hex digits, got " + json::show(value), path);
  return std::nullopt;
}

std::optional<std::string> read_one_of(const json::Value& value, const std::string& path, Problems& problems,
                                       std::initializer_list<const char*> allowed) {
  const auto* text = value.as<std::string>();
  std::vector<std::string> shown;
  for (const char* candidate : allowed) {
    if (text != nullptr && *text == candidate) return *text;
    shown.push_back(json::show(std::string_view(candidate)));
  }
  fail(problems, "expected " + join(shown, " or ") + ", got " + json::show(value), path);
  return std::nullopt;
}

std::optional<std::int64_t> Integer::operator()(const json::Value& value, const std::string& path,
                                                Problems& problems) const {
  const auto* integer = value.as<std::int64_t>();
  const auto* number = value.as<json::Number>();
  if (integer != nullptr && *integer >= minimum && *integer <= maximum) return *integer;
  if (integer == nullptr && (number == nullptr || !number->integral)) {
    fail(problems, "expected an integer, got " + json::show(value), path);
    return std::nullopt;
  }
  const bool small = integer != nullptr ? *integer < minimum : number->value < 0;
  const std::string limit = small ? ">= " + std::to_string(minimum) : "<= " + std::to_string(maximum);
  fail(problems, "expected an integer " + limit + ", got " + json::show(value), path);
  return std::nullopt;
}

std::optional<double> Range::operator()(const json::Value& value, const std::string& path, Problems& problems) const {
  const auto* integer = value.as<std::int64_t>();
  const auto* number = value.as<json::Number>();
  if (integer == nullptr && number == nullptr) {
    fail(problems, "expected a number, got " + json::show(value), path);
    return std::nullopt;
  }
  const double found = integer != nullptr ? static_cast<double>(*integer) : number->value;
  if (std::isfinite(found) && found >= minimum && found <= maximum && !(above_minimum && found == minimum)) {
    return found;
  }
  const std::string bounds = format_general(minimum) + ", " + format_general(maximum) + "]";
  fail(problems, std::string("expected a number in ") + (above_minimum ? "(" : "[") + bounds + ", got " + json::show(value),
       path);
  return std::nullopt;
}

bool read_mapping(const json::Value& value, const std::string& path, Problems& problems,
                  const std::function<bool(const json::Value&, const std::string&, Problems&)>& item) {
  const auto* object = value.as<json::Object>();
  if (object == nullptr) {
    fail(problems, "expected an object, got " + json::show(value), path);
    return false;
  }
  bool sound = true;
  for (const auto& [key, element] : *object) {
    if (key.empty()) {
      fail(problems, "expected a string that is not empty", path + " (a key)");
      sound = false;
    }
    sound = item(element, child(path, key), problems) && sound;
  }
  return sound;
}

std::optional<std::map<std::string, std::string>> read_texts(const json::Value& value, const std::string& path,
                                                             Problems& problems) {
  const bool sound = read_mapping(value, path, problems, [](const auto& element, const auto& place, auto& found) {
    return read_text(element, place, found).has_value();
  });
  if (!sound) return std::nullopt;
  std::map<std::string, std::string> texts;
  for (const auto& [key, element] : *value.as<json::Object>()) texts[key] = *element.as<std::string>();
  return texts;
}

Fields::Fields(const json::Value& value, std::string path, Problems& problems, std::initializer_list<const char*> names)
    : value_(value), path_(std::move(path)), problems_(problems) {
  const auto* object = value.as<json::Object>();
  if (object == nullptr) {
    fail(problems, "expected an object, got " + json::show(value), path_);
    return;
  }
  for (const auto& member : *object) {
    const bool known = std::any_of(names.begin(), names.end(), [&](const char* name) { return member.first == name; });
    const bool plain = is_identifier(member.first) && member.first.size() <= 60;
    if (!known) fail(problems, "unknown field " + (plain ? member.first : json::show(member.first)), path_);
  }
}

const json::Value* Fields::find(const char* name) const {
  const json::Value* found = value_.find(name);
  if (found == nullptr && value_.as<json::Object>() != nullptr) {
    fail(problems_, std::string("missing field ") + name, path_);
  }
  return found;
}

}  // namespace sharcs
