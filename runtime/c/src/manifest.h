// manifest.json: the contract between the exporter and every runtime (SPEC.md, section 2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "error.h"

namespace sharcs {

constexpr const char* kManifestName = "manifest.json";
constexpr double kSameWidth = 1e-6;

enum class Task { classification = SHARCS_CLASSIFICATION, multi_label = SHARCS_MULTI_LABEL, regression = SHARCS_REGRESSION };

enum class Backend { onnx, tflite };

struct FileRef {
  std::string file;
  std::string sha256;
  std::int64_t bytes = 0;
};

using Dimension = std::variant<std::int64_t, std::string>;  // a size, or a symbol

struct TensorSpec {
  std::string name;
  std::string dtype;
  std::vector<Dimension> shape;
};

// Multiply-accumulates of a graph for one row, as an exact polynomial in its number of tokens.
struct Macs {
  std::int64_t per_row = 0;
  std::int64_t per_token = 0;
  std::int64_t per_token_squared = 0;
  double count(std::int64_t tokens) const;
};

struct Graph {
  std::string name;
  bool is_trunk = false;
  std::optional<double> width;
  FileRef file;
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  double matmul_coverage = 0;  // share of the MatMuls that run in int8
  Macs macs;
};

struct TokenizerSpec {
  FileRef file;
  std::int64_t max_length = 0;
  std::int64_t pad_id = 0;
  std::string pad_token;
  bool token_types = false;
};

// What `verify` must meet.
struct Tolerance {
  double logits = 0;
  double label_agreement = 0;
  double route_agreement = 0;
};

struct Manifest {
  std::string family;
  Task task = Task::classification;
  std::vector<std::string> labels;
  std::int64_t text_inputs = 1;
  Backend backend = Backend::onnx;
  std::vector<double> widths;
  std::vector<Graph> graphs;
  TokenizerSpec tokenizer;
  FileRef golden;
  std::vector<FileRef> files;
  Tolerance tolerance;

  const Graph& trunk() const;
  // The tail of widths[index].
  const Graph& tail(std::size_t index) const;
  // Every file that is named, each once.
  std::vector<FileRef> all_files() const;
  std::int64_t hidden_size() const;

  // Throws SHARCS_ERROR_MANIFEST with every problem and its JSON path; `source` names the file.
  static Manifest parse(std::string_view data, const std::string& source);
};

// 0.25 -> "tail_w025".
std::string tail_name(double width);
// The index of `width` (equal within 1e-6); throws SHARCS_ERROR_WIDTH naming those that exist.
std::size_t find_width(const std::vector<double>& widths, double width);
bool has_width(const std::vector<double>& widths, double width);

// What could be read of a manifest; rules over what could not wait.
struct ManifestDraft {
  std::optional<std::string> family;
  std::optional<Task> task;
  std::optional<std::vector<std::string>> labels;
  std::optional<std::int64_t> text_inputs;
  std::optional<Backend> backend;
  std::optional<std::optional<std::vector<std::int64_t>>> buckets;  // null for onnx
  std::optional<std::vector<double>> widths;
  std::optional<std::int64_t> trunk_layers;
  std::optional<std::int64_t> num_layers;
  std::optional<std::vector<Graph>> graphs;
  std::optional<TokenizerSpec> tokenizer;
  std::optional<FileRef> golden;
  std::optional<std::vector<FileRef>> files;
  std::optional<Tolerance> tolerance;
};

// Every broken rule of section 2.3.
void check_manifest_rules(const ManifestDraft& draft, Problems& problems);

}  // namespace sharcs
