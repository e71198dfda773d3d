// 2,000 texts give the tokens of Hugging Face `tokenizers` (make_token_vectors.py).
#include <map>

#include "json.h"
#include "sha256.h"
#include "support.h"
#include "tokenizer.h"
#include "unicode.h"

using sharcs::EncodedText;
using sharcs::Tokenizer;
using sharcs::TokenizerSpec;
namespace json = sharcs::json;

namespace {

std::string text_of(const json::Value& pieces) {
  std::string text;
  for (const json::Value& piece : *pieces.as<json::Array>()) {
    const auto& pair = *piece.as<json::Array>();
    for (std::int64_t i = 0; i < *pair[1].as<std::int64_t>(); ++i) text += *pair[0].as<std::string>();
  }
  return text;
}

std::string list(const sharcs::Ids& ids) {
  std::string text;
  for (std::int64_t id : ids) text += (text.empty() ? "" : ",") + std::to_string(id);
  return text;
}

std::string digest(const EncodedText& encoded) {
  const std::string cut = encoded.truncated ? "1" : "0";
  return sharcs::sha256(list(encoded.ids) + "|" + list(encoded.types) + "|" + cut).substr(0, 12);
}

struct Named {
  std::string file;
  std::string pad;
  std::int64_t pad_id;
};

Tokenizer open(const Named& named, std::int64_t max_length, std::int64_t inputs) {
  const TokenizerSpec spec{{}, max_length, named.pad_id, named.pad, true};
  return Tokenizer(read_all(GOLDEN "/" + named.file), named.file, spec, inputs);
}

const Named kBert{"tokenizer_bert_uncased.json", "[PAD]", 0};

}  // namespace

TEST_CASE("tokens: 2,000 texts, of every script and none") {
  const json::Value golden = json::decode(read_all(GOLDEN "/tokens_v1.json"));
  std::size_t column = 0;
  for (const auto& [file, pad] : *golden.find("tokenizers")->as<json::Object>()) {
    const auto& pair = *pad.as<json::Array>();
    const Named named{file, *pair[0].as<std::string>(), *pair[1].as<std::int64_t>()};
    std::map<std::pair<std::int64_t, std::int64_t>, Tokenizer> tokenizers;
    std::size_t number = 0;
    for (const json::Value& row : *golden.find("rows")->as<json::Array>()) {
      const auto& cells = *row.as<json::Array>();
      const std::int64_t length = *cells[2].as<std::int64_t>();
      const std::int64_t inputs = cells[1].is_null() ? 1 : 2;
      const std::string first = text_of(cells[0]);
      const std::string second = inputs == 2 ? text_of(cells[1]) : "";
      const sharcs_text texts[] = {{first.data(), first.size()}, {second.data(), second.size()}};
      auto found = tokenizers.find({length, inputs});
      if (found == tokenizers.end()) {
        found = tokenizers.emplace(std::pair(length, inputs), open(named, length, inputs)).first;
      }
      const EncodedText encoded = found->second.encode(texts, static_cast<std::size_t>(inputs), "the text");
      CAPTURE(file);
      CAPTURE(number);
      CHECK(digest(encoded) == *(*cells[3].as<json::Array>())[column].as<std::string>());
      ++number;
    }
    CHECK(number == 2000);
    ++column;
  }
}

TEST_CASE("tokens: bad texts are refused by name") {
  const Tokenizer tokenizer = open(kBert, 16, 1);
  const auto refusal = [&](const std::string& text) {
    const sharcs_text one{text.data(), text.size()};
    const auto [status, message] = failure([&] { tokenizer.encode(&one, 1, "text 3 of the batch"); });
    CHECK(status == SHARCS_ERROR_INPUT);
    return message;
  };
  CHECK(refusal("") == "text 3 of the batch is empty; give a text or leave the input out");
  CHECK(contains(refusal(" \t\n\xc2\xa0\x1c"), "is only white space"));
  for (const char* bytes : {"a\xff", "a\xc0\x80", "a\xed\xa0\x80", "a\xe2\x82", "a\xf4\x90\x80\x80", "a\x80"}) {
    CHECK(contains(refusal(bytes), "is not UTF-8 (byte 1)"));
  }
  const sharcs_text pair[] = {{"a", 1}, {"", 0}};
  CHECK(contains(failure([&] { tokenizer.encode(pair, 2, "the text"); }).second, "takes one text per input"));
  const Tokenizer pairs = open(kBert, 16, 2);
  CHECK(
      contains(failure([&] { pairs.encode(pair, 1, "the text"); }).second, "the text is 1 text; this artifact takes pairs"));
  CHECK(contains(failure([&] { pairs.encode(pair, 2, "the text"); }).second, "part 1 of the text is empty"));
}

TEST_CASE("tokens: a NUL is text") {
  const Tokenizer tokenizer = open({"tokenizer_roberta.json", "<pad>", 1}, 16, 1);
  const sharcs_text text{"a\0b", 3};
  CHECK(tokenizer.encode(&text, 1, "the text").ids.size() == 5);
}

TEST_CASE("tokenizer.json: what this runtime cannot do alike is refused by name") {
  const std::string bert = read_all(GOLDEN "/tokenizer_bert_uncased.json");
  const std::string roberta = read_all(GOLDEN "/tokenizer_roberta.json");
  const auto refusal = [](const std::string& data, std::int64_t max_length = 16, const char* pad = "[PAD]") {
    const TokenizerSpec spec{{}, max_length, 0, pad, true};
    const auto [status, message] = failure([&] { Tokenizer(data, "file", spec, 1); });
    CHECK(status == SHARCS_ERROR_ARTIFACT);
    return message;
  };
  CHECK(contains(refusal(changed(bert, "BertNormalizer", "NFKC")), "has the normalizer \"NFKC\"; this runtime knows"));
  CHECK(
      contains(refusal(changed(bert, "\"BertPreTokenizer\"", "\"Whitespace\"")), "behind the pre-tokenizer \"Whitespace\""));
  CHECK(contains(refusal(changed(bert, "\"WordPiece\",\"unk", "\"Unigram\",\"unk")), "has the model \"Unigram\""));
  CHECK(contains(refusal(changed(bert, "TemplateProcessing", "Other")), "has the post-processor \"Other\""));
  CHECK(contains(refusal(changed(roberta, "\"dropout\":null", "\"dropout\":0.1")), "dropout"));
  CHECK(contains(refusal("[]"), "is no object"));
  CHECK(contains(refusal("{"), "is not UTF-8 JSON"));
  CHECK(contains(refusal("{}"), "has no model"));
  CHECK(contains(refusal(bert, 2), "adds 2 special tokens, which leaves no room for text within max_length 2"));
  CHECK(contains(refusal(bert, 16, "[SEP]"), "gives the padding token \"[SEP]\" the id 3, the manifest says 0"));
  CHECK(contains(refusal(bert, 16, "[NONE]"), "the id none"));
}

TEST_CASE("unicode: every code point survives UTF-8") {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code >= 0xd800 && code < 0xe000) continue;
    std::string text;
    sharcs::unicode::append(code, text);
    std::size_t at = 0;
    REQUIRE(sharcs::unicode::next(text, at) == code);
    REQUIRE(at == text.size());
    REQUIRE(sharcs::unicode::previous(text, at) == code);
    REQUIRE(sharcs::unicode::find_invalid(text) == std::string::npos);
  }
}
