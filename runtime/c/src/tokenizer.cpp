#include "tokenizer.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "error.h"
#include "unicode.h"

namespace sharcs {
namespace {

// A Sequence of one part is that part.
const json::Value& only_part(const json::Value& json, const char* list, const char* name) {
  if (json.is_null() || type_of(json, name) != "Sequence") return json;
  const auto* parts = need(json, list, name).as<json::Array>();
  if (parts == nullptr || parts->size() != 1) {
    refuse_tokenizer(std::string("has a sequence as ") + name + ", which this runtime does not know");
  }
  return (*parts)[0];
}

std::unique_ptr<BertNormalizer> read_normalizer(const json::Value& given) {
  const json::Value& json = only_part(given, "normalizers", "the normalizer");
  if (json.is_null()) return nullptr;
  const std::string type = type_of(json, "the normalizer");
  if (type != "BertNormalizer") {
    refuse_tokenizer("has the normalizer " + json::show(type) + "; this runtime knows BertNormalizer");
  }
  return std::make_unique<BertNormalizer>(json);
}

std::unique_ptr<Model> read_model(const json::Value& given, const json::Value& model) {
  const json::Value& pre_tokenizer = only_part(given, "pretokenizers", "the pre-tokenizer");
  const std::string pre = pre_tokenizer.is_null() ? "none" : type_of(pre_tokenizer, "the pre-tokenizer");
  const std::string type = type_of(model, "the model");
  if (type == "WordPiece" && pre == "BertPreTokenizer") return std::make_unique<WordPiece>(model);
  if (type == "BPE" && pre == "ByteLevel") return std::make_unique<ByteLevelBpe>(pre_tokenizer, model);
  refuse_tokenizer("has the model " + json::show(type) + " behind the pre-tokenizer " + json::show(pre) +
                   "; this runtime knows WordPiece behind BertPreTokenizer and BPE behind ByteLevel");
}

// `name` gives the name of the text for a message.
template <typename Name>
void check_text(const sharcs_text& text, Name name) {
  const std::string_view data(text.data == nullptr ? "" : text.data, text.data == nullptr ? 0 : text.size);
  if (data.empty()) throw_input(name() + " is empty; give a text or leave the input out");
  const std::size_t invalid = unicode::find_invalid(data);
  if (invalid != std::string_view::npos) {
    throw_input(name() + " is not UTF-8 (byte " + std::to_string(invalid) +
                "); decode its source with replacement characters");
  }
  if (unicode::is_only_space(data)) throw_input(name() + " is only white space; give a text or leave the input out");
}

// Cuts a pair to `room` tokens as `tokenizers` does (longest_first): the longer one first, then both alike.
bool cut_pair(Ids& first, Ids& second, std::size_t room) {
  if (first.size() + second.size() <= room) return false;
  std::size_t n1 = first.size();
  std::size_t n2 = second.size();
  const bool swapped = n1 > n2;
  if (swapped) std::swap(n1, n2);
  n2 = n1 > room ? n1 : std::max(n1, room - n1);
  if (n1 + n2 > room) {
    n1 = room / 2;
    n2 = n1 + room % 2;
  }
  if (swapped) std::swap(n1, n2);
  first.resize(std::min(n1, first.size()));
  second.resize(std::min(n2, second.size()));
  return true;
}

}  // namespace

void refuse_tokenizer(const std::string& what) { throw_artifact("tokenizer.json " + what); }

const json::Value& need(const json::Value& object, const char* key, const char* name) {
  const json::Value* found = object.find(key);
  if (found == nullptr) refuse_tokenizer(std::string("has no ") + key + " in " + name);
  return *found;
}

bool read_flag(const json::Value& object, const char* key, bool standard) {
  const json::Value* found = object.find(key);
  if (found == nullptr || found->is_null()) return standard;
  const auto* flag = found->as<bool>();
  if (flag == nullptr) refuse_tokenizer(std::string("has a ") + key + " that is neither true nor false");
  return *flag;
}

std::string need_text(const json::Value& object, const char* key, const char* name) {
  const auto* text = need(object, key, name).as<std::string>();
  if (text == nullptr) refuse_tokenizer(std::string("has a ") + key + " that is no text in " + name);
  return *text;
}

std::string type_of(const json::Value& object, const char* name) { return need_text(object, "type", name); }

Tokenizer::Tokenizer(std::string_view data, const std::string& source, const TokenizerSpec& spec, std::int64_t text_inputs)
    : text_inputs_(static_cast<std::size_t>(text_inputs)), max_length_(static_cast<std::size_t>(spec.max_length)) {
  try {
    read(data);
  } catch (const std::invalid_argument& error) {
    throw_artifact(source + " is not UTF-8 JSON (" + error.what() + "): export the artifact again");
  } catch (const Error& error) {
    throw_artifact(source + " cannot be used (" + error.what() + "): update the library or export the artifact again");
  }
  check_fit(source, spec);
}

void Tokenizer::read(std::string_view data) {
  const json::Value json = json::decode(data);
  if (json.as<json::Object>() == nullptr) refuse_tokenizer("is no object");
  const json::Value nothing;
  const auto part = [&](const char* key) -> const json::Value& {
    const json::Value* found = json.find(key);
    return found == nullptr ? nothing : *found;
  };
  normalizer_ = read_normalizer(part("normalizer"));
  model_ = read_model(part("pre_tokenizer"), need(json, "model", "it"));
  added_ = std::make_unique<AddedTokens>(part("added_tokens"), *model_, normalizer_.get());
  post_processor_ = PostProcessor(part("post_processor"));
}

void Tokenizer::check_fit(const std::string& source, const TokenizerSpec& spec) const {
  const std::size_t special = post_processor_.added(text_inputs_ == 2);
  if (max_length_ <= special) {
    throw_artifact(source + " adds " + std::to_string(special) +
                   " special tokens, which leaves no room for text within max_length " + std::to_string(max_length_) +
                   ": export the artifact again with a larger one");
  }
  std::int64_t found = added_->token_to_id(spec.pad_token);
  if (found == Vocabulary::kNone) found = model_->token_to_id(spec.pad_token);
  if (found != spec.pad_id) {
    throw_artifact(source + " gives the padding token " + json::show(spec.pad_token) + " the id " +
                   (found == Vocabulary::kNone ? "none" : std::to_string(found)) + ", the manifest says " +
                   std::to_string(spec.pad_id) + ": export the artifact again");
  }
}

EncodedText Tokenizer::encode(const sharcs_text* texts, std::size_t count, const std::string& name) const {
  if (count != text_inputs_) {
    throw_input(name + " is " + std::to_string(count) + (count == 1 ? " text" : " texts") + "; this artifact takes " +
                (text_inputs_ == 1 ? "one text per input" : "pairs: give two"));
  }
  for (std::size_t part = 0; part < count; ++part) {
    check_text(texts[part], [&] { return count == 1 ? name : "part " + std::to_string(part) + " of " + name; });
  }
  Ids parts[2];
  for (std::size_t part = 0; part < count; ++part) {
    parts[part].reserve(std::min(texts[part].size, max_length_));
    added_->encode({texts[part].data, texts[part].size}, normalizer_.get(), *model_, parts[part]);
  }
  const bool pair = count == 2;
  const std::size_t room = max_length_ - post_processor_.added(pair);
  EncodedText encoded;
  if (pair) {
    encoded.truncated = cut_pair(parts[0], parts[1], room);
  } else if (parts[0].size() > room) {
    parts[0].resize(room);
    encoded.truncated = true;
  }
  post_processor_.process(parts[0], pair ? &parts[1] : nullptr, encoded.ids, encoded.types);
  if (encoded.ids.empty()) throw_input(name + " holds nothing that the tokenizer knows; give a text with words in it");
  return encoded;
}

}  // namespace sharcs
