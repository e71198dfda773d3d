// The parts of a tokenizer.json that this runtime knows; each behaves as its namesake in Hugging Face `tokenizers`.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "json.h"
#include "vocabulary.h"

namespace sharcs {

using Ids = std::vector<std::int64_t>;

// Throws SHARCS_ERROR_ARTIFACT: `what` completes "tokenizer.json ...".
[[noreturn]] void refuse_tokenizer(const std::string& what);
// Members of an object of tokenizer.json; `name` says whose they are.
const json::Value& need(const json::Value& object, const char* key, const char* name);
bool read_flag(const json::Value& object, const char* key, bool standard);
std::string need_text(const json::Value& object, const char* key, const char* name);
std::string type_of(const json::Value& object, const char* name);

// BertNormalizer.
class BertNormalizer {
 public:
  explicit BertNormalizer(const json::Value& json);
  std::string normalize(std::string_view text) const;

 private:
  std::string normalize_ascii(std::string_view text) const;

  bool clean_text_;
  bool chinese_;
  bool strip_accents_;
  bool lowercase_;
};

// What turns a piece of text without added tokens into ids: pre-tokenizer and model.
class Model {
 public:
  virtual ~Model() = default;
  virtual void tokenize(std::string_view piece, Ids& ids) const = 0;
  // Vocabulary::kNone if it has no such token.
  virtual std::int64_t token_to_id(std::string_view token) const = 0;
};

// BertPreTokenizer and WordPiece.
class WordPiece : public Model {
 public:
  explicit WordPiece(const json::Value& json);
  void tokenize(std::string_view piece, Ids& ids) const override;
  std::int64_t token_to_id(std::string_view token) const override { return vocabulary_.find(token); }

 private:
  void add_word(std::string_view word, std::size_t characters, Ids& ids) const;

  Vocabulary vocabulary_;
  Vocabulary continuing_;  // the tokens that begin with the prefix, without it
  std::int64_t unknown_;
  std::size_t longest_word_;  // in characters
};

// ByteLevel and BPE.
class ByteLevelBpe : public Model {
 public:
  ByteLevelBpe(const json::Value& pre_tokenizer, const json::Value& model);
  void tokenize(std::string_view piece, Ids& ids) const override;
  std::int64_t token_to_id(std::string_view token) const override { return vocabulary_.find(token); }

 private:
  struct Merge {
    std::uint32_t rank;
    std::int32_t id;
  };
  void add_merges(const json::Value& model);
  void add_word(std::string_view word, Ids& ids) const;
  const Merge* find_merge(std::int32_t left, std::int32_t right) const;
  void merge_short(std::vector<std::int32_t>& symbols) const;
  void merge_long(std::vector<std::int32_t>& symbols) const;

  bool add_prefix_space_;
  bool use_regex_;
  bool ignore_merges_;
  bool fuse_unknown_;
  std::int64_t unknown_ = Vocabulary::kNone;
  Vocabulary vocabulary_;
  std::array<std::int32_t, 256> bytes_{};        // id of each byte's token, -1 if there is none
  std::array<std::string, 256> byte_letters_{};  // the character that stands for each byte
  std::unordered_map<std::uint64_t, Merge> merges_;
};

// Tokens that are found in the text before anything else.
class AddedTokens {
 public:
  // `normalizer` may be nullptr.
  AddedTokens(const json::Value& json, const Model& model, const BertNormalizer* normalizer);
  std::int64_t token_to_id(std::string_view token) const;
  // Appends the ids of a text: added tokens as they are, the pieces between them through normalizer and model.
  void encode(std::string_view text, const BertNormalizer* normalizer, const Model& model, Ids& ids) const;

 private:
  struct Token {
    std::string content;  // as it is searched for
    std::int64_t id;
    bool single_word;
    bool lstrip;
    bool rstrip;
  };
  struct Set {
    std::vector<Token> tokens;  // the longest first
    std::array<bool, 256> first{};
    void add(Token token);
    const Token* match(std::string_view text, std::size_t at) const;
  };
  template <typename Piece>
  static void split(const Set& set, std::string_view text, Ids& ids, Piece piece);

  Set raw_;
  Set normalized_;
  std::vector<std::pair<std::string, std::int64_t>> ids_;
};

// TemplateProcessing, BertProcessing, RobertaProcessing, or none: where special tokens go.
class PostProcessor {
 public:
  PostProcessor() = default;
  explicit PostProcessor(const json::Value& json);
  std::size_t added(bool pair) const;
  // `second`: nullptr for a single text.
  void process(const Ids& first, const Ids* second, Ids& ids, Ids& types) const;

 private:
  // A special token, or the first or second sequence.
  struct Piece {
    enum { token, first, second } kind;
    std::int64_t id;
    std::int64_t type;
  };
  using Template = std::vector<Piece>;

  void read(const json::Value& json);
  void read_template(const json::Value& json);
  static Template read_pieces(const json::Value& json, const json::Value& special);
  void read_fixed(const json::Value& json, bool roberta);

  Template single_{{Piece::first, 0, 0}};
  Template pair_{{Piece::first, 0, 0}, {Piece::second, 0, 1}};
  bool set_ = false;
};

}  // namespace sharcs
