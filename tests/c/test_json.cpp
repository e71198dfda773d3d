#include <stdexcept>

#include "exact_sum.h"
#include "json.h"
#include "support.h"
#include "text.h"

namespace json = sharcs::json;

namespace {

std::string refusal(const std::string& text) {
  try {
    json::decode(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("json: what is not strict JSON is refused, with a reason") {
  CHECK(refusal(R"({"a": 1, "b": {"c": 1, "c": 2}})") == "the key \"c\" occurs twice in one object");
  CHECK(refusal(std::string(300, '[') + std::string(300, ']')) == "the JSON is nested too deeply");
  for (const char* text : {"",
                           " ",
                           "{",
                           "[1,]",
                           "{\"a\":}",
                           "NaN",
                           "[Infinity]",
                           "-Infinity",
                           "\"\\ud800\"",
                           "\"\\udc00\"",
                           "\"\xff\"",
                           "\"\xc3\"",
                           "\"\xed\xa0\x80\"",
                           "1 2",
                           "{\"a\" 1}",
                           "'a'",
                           "01",
                           "1e999",
                           "\xef\xbb\xbf{}",
                           "\"\x01\"",
                           "// comment\n1"}) {
    CAPTURE(text);
    CHECK(refusal(text) != "");
  }
}

TEST_CASE("json: values keep their type, and objects their order") {
  const json::Value value = json::decode(R"({"b": [1, 1.0, true, null, "\u00e9\ud83d\ude00"], "a": 9223372036854775808})");
  const auto& object = *value.as<json::Object>();
  CHECK(object[0].first == "b");
  const auto& items = *value.find("b")->as<json::Array>();
  CHECK(*items[0].as<std::int64_t>() == 1);
  CHECK_FALSE(items[1].as<json::Number>()->integral);
  CHECK(*items[2].as<bool>());
  CHECK(items[3].is_null());
  CHECK(*items[4].as<std::string>() == "\xc3\xa9\xf0\x9f\x98\x80");
  CHECK(value.find("a")->as<json::Number>()->integral);
  CHECK(value.find("c") == nullptr);
}

TEST_CASE("json: values are shown briefly") {
  CHECK(json::show(json::decode("[1]")) == "an array");
  CHECK(json::show(json::decode("{}")) == "an object");
  CHECK(json::show(std::string_view("\xc3\xa9")) == "\"\\u00e9\"");
  CHECK(json::show(std::string_view(std::string(100, 'x'))).size() == 60);
}

TEST_CASE("exact_sum rounds once, whatever the order") {
  CHECK(sharcs::exact_sum({0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1}) == 1.0);
  CHECK(sharcs::exact_sum({1e16, 1.0, -1e16}) == 1.0);
  CHECK(sharcs::exact_sum({1.0, 1e100, 1.0, -1e100}) == 2.0);
  CHECK(sharcs::exact_sum({9007199254740992.0, 1.0, 1e-20}) == 9007199254740994.0);  // above a tie
  CHECK(sharcs::exact_sum({}) == 0.0);
}

TEST_CASE("numbers are written as printf does in the C locale") {
  CHECK(sharcs::format_general(0.25) == "0.25");
  CHECK(sharcs::format_general(1.0) == "1");
  CHECK(sharcs::format_general(1e12) == "1e+12");
  CHECK(sharcs::format_fixed(2.25, 1) == "2.2");
}
