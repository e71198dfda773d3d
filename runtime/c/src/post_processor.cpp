#include <algorithm>

#include "tokenizer_parts.h"

namespace sharcs {
namespace {

std::int64_t type_id(const json::Value& piece) {
  const auto* type = need(piece, "type_id", "a template").as<std::int64_t>();
  if (type == nullptr || *type < 0) refuse_tokenizer("has a template with a type_id that is none");
  return *type;
}

// The id of ["[SEP]", 102].
std::int64_t named_id(const json::Value& json, const char* key, const char* name) {
  const auto* pair = need(json, key, name).as<json::Array>();
  const auto* id = pair != nullptr && pair->size() == 2 ? (*pair)[1].as<std::int64_t>() : nullptr;
  if (id == nullptr || *id < 0) refuse_tokenizer(std::string("has no id for ") + key + " in " + name);
  return *id;
}

}  // namespace

PostProcessor::PostProcessor(const json::Value& json) { read(json); }

void PostProcessor::read(const json::Value& json) {
  if (json.is_null()) return;
  const std::string type = type_of(json, "the post-processor");
  if (type == "Sequence") {
    const auto* parts = need(json, "processors", "the post-processor").as<json::Array>();
    if (parts == nullptr) refuse_tokenizer("has a post-processor without processors");
    for (const json::Value& part : *parts) read(part);
    return;
  }
  if (type == "ByteLevel") return;  // it changes offsets alone
  if (set_) refuse_tokenizer("has two post-processors that add tokens, which this runtime does not know");
  set_ = true;
  if (type == "TemplateProcessing") {
    read_template(json);
  } else if (type == "BertProcessing" || type == "RobertaProcessing") {
    read_fixed(json, type == "RobertaProcessing");
  } else {
    refuse_tokenizer("has the post-processor " + json::show(type) +
                     "; this runtime knows TemplateProcessing, BertProcessing, RobertaProcessing and ByteLevel");
  }
}

PostProcessor::Template PostProcessor::read_pieces(const json::Value& json, const json::Value& special) {
  const auto* pieces = json.as<json::Array>();
  if (pieces == nullptr) refuse_tokenizer("has a template that is no array");
  Template result;
  for (const json::Value& piece : *pieces) {
    if (const json::Value* sequence = piece.find("Sequence")) {
      const std::string id = need_text(*sequence, "id", "a template");
      if (id != "A" && id != "B") refuse_tokenizer("has a template with the sequence " + json::show(id));
      result.push_back({id == "A" ? Piece::first : Piece::second, 0, type_id(*sequence)});
    } else if (const json::Value* token = piece.find("SpecialToken")) {
      const std::string id = need_text(*token, "id", "a template");
      const json::Value* entry = special.find(id);
      const auto* ids = entry == nullptr ? nullptr : need(*entry, "ids", "a special token").as<json::Array>();
      if (ids == nullptr) refuse_tokenizer("has no special token " + json::show(id) + " for its template");
      for (const json::Value& one : *ids) {
        const auto* number = one.as<std::int64_t>();
        if (number == nullptr || *number < 0) refuse_tokenizer("has a special token with an id that is none");
        result.push_back({Piece::token, *number, type_id(*token)});
      }
    } else {
      refuse_tokenizer("has a template with neither a Sequence nor a SpecialToken");
    }
  }
  return result;
}

void PostProcessor::read_template(const json::Value& json) {
  const json::Value& special = need(json, "special_tokens", "the template");
  single_ = read_pieces(need(json, "single", "the template"), special);
  pair_ = read_pieces(need(json, "pair", "the template"), special);
}

void PostProcessor::read_fixed(const json::Value& json, bool roberta) {
  const char* name = roberta ? "RobertaProcessing" : "BertProcessing";
  const Piece begin{Piece::token, named_id(json, "cls", name), 0};
  const Piece end{Piece::token, named_id(json, "sep", name), 0};
  const std::int64_t other = roberta ? 0 : 1;
  single_ = {begin, {Piece::first, 0, 0}, end};
  pair_ = single_;
  if (roberta) pair_.push_back(end);
  pair_.push_back({Piece::second, 0, other});
  pair_.push_back({Piece::token, end.id, other});
}

std::size_t PostProcessor::added(bool pair) const {
  const Template& pieces = pair ? pair_ : single_;
  return static_cast<std::size_t>(
      std::count_if(pieces.begin(), pieces.end(), [](const Piece& piece) { return piece.kind == Piece::token; }));
}

void PostProcessor::process(const Ids& first, const Ids* second, Ids& ids, Ids& types) const {
  const auto add = [&](const Ids& sequence, std::int64_t type) {
    ids.insert(ids.end(), sequence.begin(), sequence.end());
    types.insert(types.end(), sequence.size(), type);
  };
  const Template& pieces = second != nullptr ? pair_ : single_;
  const std::size_t size = first.size() + (second != nullptr ? second->size() : 0) + pieces.size();
  ids.reserve(size);
  types.reserve(size);
  for (const Piece& piece : pieces) {
    if (piece.kind == Piece::token) {
      ids.push_back(piece.id);
      types.push_back(piece.type);
    } else if (piece.kind == Piece::first) {
      add(first, piece.type);
    } else if (second != nullptr) {
      add(*second, piece.type);
    }
  }
}

}  // namespace sharcs
