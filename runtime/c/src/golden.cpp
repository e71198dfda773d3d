#include "golden.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <stdexcept>

#include "npz.h"
#include "unicode.h"

namespace sharcs {
namespace {

class Reader {
 public:
  Reader(const std::string& file, std::map<std::string, NpyArray> arrays) : file_(file), arrays_(std::move(arrays)) {}

  const NpyArray& array(const char* name) const {
    const auto found = arrays_.find(name);
    if (found == arrays_.end()) refuse(std::string("has no array ") + name);
    return found->second;
  }

  template <typename T>
  std::vector<T> values(const char* name, const char* dtype, const std::vector<std::size_t>& shape) const {
    const NpyArray& found = array(name);
    if (found.dtype != dtype) refuse(std::string("holds ") + found.dtype + " in " + name + ", expected " + dtype);
    if (found.shape != shape || found.size() == 0) {
      refuse(std::string("has another shape of ") + name + " than the manifest asks for");
    }
    std::vector<T> values(found.size());
    std::memcpy(values.data(), found.data.data(), found.data.size());
    return values;
  }

  // NumPy's text: UTF-32, filled up with NULs.
  std::vector<std::string> texts(const char* name, const std::vector<std::size_t>& shape) const {
    const NpyArray& found = array(name);
    if (found.dtype.compare(0, 2, "<U") != 0) {
      refuse(std::string("holds ") + found.dtype + " in " + name + ", expected text");
    }
    if (found.shape != shape || found.size() == 0) {
      refuse(std::string("has another shape of ") + name + " than the manifest asks for");
    }
    const std::size_t letters = found.data.size() / 4 / found.size();
    std::vector<std::string> texts(found.size());
    std::u32string codes(letters, U'\0');
    for (std::size_t index = 0; index < texts.size(); ++index) {
      std::memcpy(codes.data(), found.data.data() + index * letters * 4, letters * 4);
      const std::size_t end = codes.find_last_not_of(U'\0');
      for (std::size_t i = 0; end != std::u32string::npos && i <= end; ++i) {
        if (codes[i] > 0x10ffff) refuse("holds text that is not Unicode");
        unicode::append(codes[i], texts[index]);
      }
    }
    return texts;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw_artifact(file_ + " " + what + ": export the artifact again");
  }

 private:
  const std::string& file_;
  std::map<std::string, NpyArray> arrays_;
};

void check_mask(const TokenBatch& tokens, const Reader& reader) {
  for (std::int64_t row = 0; row < tokens.rows; ++row) {
    const auto begin = tokens.attention_mask.begin() + row * tokens.tokens;
    const auto end = begin + tokens.tokens;
    const bool bits = std::all_of(begin, end, [](std::int64_t bit) { return bit == 0 || bit == 1; });
    if (!bits || *begin != 1 || !std::is_sorted(begin, end, std::greater<>())) {
      reader.refuse("has an attention_mask that is not right padded (ones, then zeros)");
    }
  }
}

std::map<std::string, NpyArray> read_arrays(const std::string& file) {
  const auto data = read_file(file);
  if (!data) throw_artifact(file + " is not there: copy the artifact again or export it again");
  try {
    return read_npz(*data);
  } catch (const std::invalid_argument& error) {
    throw_artifact(file + " is not a readable .npz file (" + error.what() + "): export the artifact again");
  }
}

}  // namespace

std::size_t Golden::length(std::size_t row) const {
  const auto begin = tokens.attention_mask.begin() + static_cast<std::ptrdiff_t>(row) * tokens.tokens;
  return static_cast<std::size_t>(std::accumulate(begin, begin + tokens.tokens, std::int64_t{0}));
}

TokenBatch Golden::row(std::size_t row) const {
  const auto count = static_cast<std::ptrdiff_t>(length(row));
  const auto cut = [&](const Ids& values) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row) * tokens.tokens;
    return Ids(begin, begin + count);
  };
  TokenBatch one{1, count, cut(tokens.input_ids), cut(tokens.attention_mask), {}};
  if (!tokens.token_type_ids.empty()) one.token_type_ids = cut(tokens.token_type_ids);
  return one;
}

Golden Golden::load(const Artifact& artifact) {
  const Manifest& manifest = artifact.manifest;
  const std::string file = artifact.file(manifest.golden.file);
  const Reader reader(file, read_arrays(file));
  const NpyArray& ids = reader.array("input_ids");
  const std::vector<std::size_t> shape = ids.shape.size() == 2 ? ids.shape : std::vector<std::size_t>{0, 0};
  const std::size_t rows = shape[0];
  Golden golden;
  golden.tokens.rows = static_cast<std::int64_t>(rows);
  golden.tokens.tokens = static_cast<std::int64_t>(shape[1]);
  golden.tokens.input_ids = reader.values<std::int64_t>("input_ids", "<i8", shape);
  golden.tokens.attention_mask = reader.values<std::int64_t>("attention_mask", "<i8", shape);
  if (manifest.tokenizer.token_types) {
    golden.tokens.token_type_ids = reader.values<std::int64_t>("token_type_ids", "<i8", shape);
  }
  golden.logits = reader.values<float>("logits", "<f4", {manifest.widths.size(), rows, manifest.labels.size()});
  golden.routes = reader.values<std::int64_t>("routes", "<i8", {rows});
  golden.texts = reader.texts("texts", {rows, static_cast<std::size_t>(manifest.text_inputs)});
  check_mask(golden.tokens, reader);
  for (std::int64_t route : golden.routes) {
    if (route < 0 || route >= static_cast<std::int64_t>(manifest.widths.size())) {
      reader.refuse("has routes that leave the widths");
    }
  }
  return golden;
}

}  // namespace sharcs
