#include "manifest.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "fields.h"
#include "json.h"
#include "text.h"
#include "version.h"

namespace sharcs {
namespace {

constexpr std::int64_t kSchemaVersion = 1;

bool is_file_name(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';
  };
  return !name.empty() && name.size() <= 128 && name[0] != '.' && name[0] != '-' && name != kManifestName &&
         name.find("..") == std::string::npos && std::all_of(name.begin(), name.end(), plain);
}

std::optional<std::string> read_file_name(const json::Value& value, const std::string& path, Problems& problems) {
  const auto* text = value.as<std::string>();
  if (text != nullptr && is_file_name(*text)) return *text;
  fail(problems,
       "expected a plain file name (letters, digits, '.', '_', '-'; no folder, no '..', not manifest.json), got " +
           json::show(value),
       path);
  return std::nullopt;
}

std::optional<FileRef> read_reference(const Fields& fields) {
  auto file = fields.read("file", read_file_name);
  auto sha256 = fields.read("sha256", read_sha256);
  auto bytes = fields.read("bytes", Integer{0});
  if (!file || !sha256 || !bytes) return std::nullopt;
  return FileRef{*file, *sha256, *bytes};
}

std::optional<FileRef> read_file_reference(const json::Value& value, const std::string& path, Problems& problems) {
  return read_reference(Fields(value, path, problems, {"file", "sha256", "bytes"}));
}

std::optional<Dimension> read_dimension(const json::Value& value, const std::string& path, Problems& problems) {
  if (value.as<std::string>() != nullptr) {
    auto symbol = read_text(value, path, problems);
    return symbol ? std::optional<Dimension>(*symbol) : std::nullopt;
  }
  auto size = Integer{1}(value, path, problems);
  return size ? std::optional<Dimension>(*size) : std::nullopt;
}

std::optional<TensorSpec> read_tensor(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems, {"name", "dtype", "shape"});
  auto name = fields.read("name", read_text);
  auto dtype = fields.read("dtype", [](const auto& v, const auto& p, auto& found) {
    return read_one_of(v, p, found, {"int64", "int32", "float32"});
  });
  auto shape = fields.read("shape", [](const auto& v, const auto& p, auto& found) {
    return read_array<Dimension>(v, p, found, read_dimension, true);
  });
  if (!name || !dtype || !shape) return std::nullopt;
  return TensorSpec{*name, *dtype, *shape};
}

std::optional<std::vector<TensorSpec>> read_tensors(const json::Value& value, const std::string& path, Problems& problems) {
  return read_array<TensorSpec>(value, path, problems, read_tensor);
}

// The share of int8; the rest is only checked: this runtime runs what the graph file says.
std::optional<double> read_quantization(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems, {"recipe", "matmul_coverage", "options"});
  const auto recipe = fields.read("recipe", [](const auto& v, const auto& p, auto& found) {
    return read_one_of(v, p, found, {"none", "int8_dynamic", "int8_static"});
  });
  const auto coverage = fields.read("matmul_coverage", Range{0, 1});
  const auto options = fields.read("options", [](const auto& v, const auto& p, auto& found) {
    const auto option = [](const json::Value& one, const std::string& place, Problems& list) {
      if (one.as<std::string>() != nullptr) return read_text(one, place, list).has_value();
      return read_bool(one, place, list).has_value();
    };
    return read_mapping(v, p, found, option) ? std::optional(true) : std::nullopt;
  });
  return recipe && options ? coverage : std::nullopt;
}

std::optional<Macs> read_macs(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems, {"per_row", "per_token", "per_token_squared"});
  const auto row = fields.read("per_row", Integer{0});
  const auto token = fields.read("per_token", Integer{0});
  const auto squared = fields.read("per_token_squared", Integer{0});
  if (!row || !token || !squared) return std::nullopt;
  return Macs{*row, *token, *squared};
}

std::optional<Graph> read_graph(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems,
                      {"name", "role", "width", "file", "sha256", "bytes", "inputs", "outputs", "quantization", "macs"});
  const auto name = fields.read("name", read_text);
  const auto role = fields.read(
      "role", [](const auto& v, const auto& p, auto& found) { return read_one_of(v, p, found, {"trunk", "tail"}); });
  const auto width = fields.read_or_null<double>("width", Range{0, 1, true});
  const auto file = read_reference(fields);
  const auto inputs = fields.read("inputs", read_tensors);
  const auto outputs = fields.read("outputs", read_tensors);
  const auto quantization = fields.read("quantization", read_quantization);
  const auto macs = fields.read("macs", read_macs);
  if (!name || !role || !width || !file || !inputs || !outputs || !quantization || !macs) return std::nullopt;
  return Graph{*name, *role == "trunk", *width, *file, *inputs, *outputs, *quantization, *macs};
}

std::optional<TokenizerSpec> read_tokenizer(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems,
                      {"file", "sha256", "bytes", "max_length", "pad_id", "pad_token", "token_types", "trimmed_from"});
  const auto file = read_reference(fields);
  const auto max_length = fields.read("max_length", Integer{1});
  const auto pad_id = fields.read("pad_id", Integer{0});
  const auto pad_token = fields.read("pad_token", read_text);
  const auto token_types = fields.read("token_types", read_bool);
  const auto trimmed_from = fields.read_or_null<std::int64_t>("trimmed_from", Integer{1});  // only checked
  if (!file || !max_length || !pad_id || !pad_token || !token_types || !trimmed_from) return std::nullopt;
  return TokenizerSpec{*file, *max_length, *pad_id, *pad_token, *token_types};
}

std::optional<Tolerance> read_tolerance(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems, {"logits", "label_agreement", "route_agreement"});
  const auto logits = fields.read("logits", Range{0, 1e6, true});
  const auto labels = fields.read("label_agreement", Range{0, 1});
  const auto routes = fields.read("route_agreement", Range{0, 1});
  if (!logits || !labels || !routes) return std::nullopt;
  return Tolerance{*logits, *labels, *routes};
}

std::optional<Task> read_task(const json::Value& value, const std::string& path, Problems& problems) {
  const auto name = read_one_of(value, path, problems, {"classification", "multi_label", "regression"});
  if (!name) return std::nullopt;
  return *name == "classification" ? Task::classification : *name == "multi_label" ? Task::multi_label : Task::regression;
}

std::optional<Backend> read_backend(const json::Value& value, const std::string& path, Problems& problems) {
  const auto name = read_one_of(value, path, problems, {"onnx", "tflite"});
  if (!name) return std::nullopt;
  return *name == "onnx" ? Backend::onnx : Backend::tflite;
}

ManifestDraft read_draft(const json::Value& document, Problems& problems) {
  const Fields fields(
      document, "$", problems,
      {"schema_version", "family", "task", "labels", "text_inputs", "backend", "buckets", "widths", "trunk_layers",
       "num_layers", "graphs", "tokenizer", "golden", "files", "target", "tolerance", "tools"});
  ManifestDraft draft;
  fields.read("schema_version", Integer{kSchemaVersion, kSchemaVersion});
  draft.family = fields.read("family", read_text);
  draft.task = fields.read("task", read_task);
  draft.labels = fields.read(
      "labels", [](const auto& v, const auto& p, auto& found) { return read_array<std::string>(v, p, found, read_text); });
  draft.text_inputs = fields.read("text_inputs", Integer{1, 2});
  draft.backend = fields.read("backend", read_backend);
  draft.buckets = fields.read_or_null<std::vector<std::int64_t>>("buckets", [](const auto& v, const auto& p, auto& found) {
    return read_array<std::int64_t>(v, p, found, Integer{1});
  });
  draft.widths = fields.read("widths", [](const auto& v, const auto& p, auto& found) {
    return read_array<double>(v, p, found, Range{0, 1, true});
  });
  draft.trunk_layers = fields.read("trunk_layers", Integer{0});
  draft.num_layers = fields.read("num_layers", Integer{1});
  draft.graphs = fields.read(
      "graphs", [](const auto& v, const auto& p, auto& found) { return read_array<Graph>(v, p, found, read_graph); });
  draft.tokenizer = fields.read("tokenizer", read_tokenizer);
  draft.golden = fields.read("golden", read_file_reference);
  draft.files = fields.read("files", [](const auto& v, const auto& p, auto& found) {
    return read_array<FileRef>(v, p, found, read_file_reference, true);
  });
  fields.read("target", read_text);
  draft.tolerance = fields.read("tolerance", read_tolerance);
  fields.read("tools", read_texts);
  return draft;
}

}  // namespace

double Macs::count(std::int64_t tokens) const {
  const auto t = static_cast<double>(tokens);
  return static_cast<double>(per_row) + t * (static_cast<double>(per_token) + t * static_cast<double>(per_token_squared));
}

const Graph& Manifest::trunk() const {
  return *std::find_if(graphs.begin(), graphs.end(), [](const Graph& graph) { return graph.is_trunk; });
}

const Graph& Manifest::tail(std::size_t index) const {
  const double width = widths[index];
  return *std::find_if(graphs.begin(), graphs.end(),
                       [&](const Graph& graph) { return graph.width && std::abs(*graph.width - width) <= kSameWidth; });
}

std::vector<FileRef> Manifest::all_files() const {
  std::vector<FileRef> named;
  const auto add = [&](const FileRef& entry) {
    const auto same = [&](const FileRef& other) { return other.file == entry.file; };
    if (std::none_of(named.begin(), named.end(), same)) named.push_back(entry);
  };
  for (const Graph& graph : graphs) add(graph.file);
  add(tokenizer.file);
  add(golden);
  for (const FileRef& entry : files) add(entry);
  return named;
}

std::int64_t Manifest::hidden_size() const { return std::get<std::int64_t>(trunk().outputs[0].shape[2]); }

Manifest Manifest::parse(std::string_view data, const std::string& source) {
  json::Value document;
  try {
    document = json::decode(data);
  } catch (const std::invalid_argument& error) {
    throw_document(SHARCS_ERROR_MANIFEST, source, {"it is not UTF-8 JSON (" + std::string(error.what()) + ") @ $"}, "");
  }
  refuse_newer_schema(document, kSchemaVersion, source, "export", SHARCS_ERROR_MANIFEST);
  Problems problems;
  ManifestDraft draft = read_draft(document, problems);
  check_manifest_rules(draft, problems);
  if (!problems.empty()) throw_document(SHARCS_ERROR_MANIFEST, source, problems, "");
  return Manifest{*draft.family, *draft.task,      *draft.labels, *draft.text_inputs, *draft.backend,  *draft.widths,
                  *draft.graphs, *draft.tokenizer, *draft.golden, *draft.files,       *draft.tolerance};
}

std::string tail_name(double width) {
  // nearbyint rounds half to even in the default mode, as SPEC.md asks.
  std::string digits = std::to_string(static_cast<long>(std::nearbyint(width * 100)));
  while (digits.size() < 3) digits.insert(0, "0");
  return "tail_w" + digits;
}

bool has_width(const std::vector<double>& widths, double width) {
  return std::any_of(widths.begin(), widths.end(), [&](double one) { return std::abs(one - width) <= kSameWidth; });
}

std::size_t find_width(const std::vector<double>& widths, double width) {
  for (std::size_t index = 0; index < widths.size(); ++index) {
    if (std::abs(widths[index] - width) <= kSameWidth) return index;
  }
  throw_width("there is no width " + format_general(width) + ": there are " + format_widths(widths) + "; use one of these");
}

}  // namespace sharcs
