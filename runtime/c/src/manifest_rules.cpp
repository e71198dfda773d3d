// What must hold between the fields of a manifest (SPEC.md, section 2.3).
#include <cmath>
#include <map>

#include "fields.h"
#include "manifest.h"
#include "text.h"

namespace sharcs {
namespace {

struct Expected {
  const char* name;
  const char* dtype;
  std::vector<std::optional<Dimension>> shape;  // nothing: any fixed size
};

std::string at(const std::string& path, std::size_t index) { return path + "[" + std::to_string(index) + "]"; }

void check_labels(const ManifestDraft& draft, Problems& problems) {
  const auto& labels = *draft.labels;
  std::map<std::string, std::size_t> seen;
  for (std::size_t index = 0; index < labels.size(); ++index) {
    const auto [place, added] = seen.emplace(labels[index], index);
    if (!added) {
      fail(problems, "duplicate label " + json::show(labels[index]) + ", first at index " + std::to_string(place->second),
           at("$.labels", index));
    }
  }
  if (draft.task == Task::classification && labels.size() < 2) {
    fail(problems, "a classifier needs at least 2 labels", "$.labels");
  }
  if (draft.task == Task::regression && labels.size() != 1) {
    fail(problems, "regression has one value, and so 1 label that names it", "$.labels");
  }
}

void check_widths(const std::vector<double>& widths, Problems& problems) {
  for (std::size_t index = 1; index < widths.size(); ++index) {
    if (std::abs(widths[index] - widths[index - 1]) <= kSameWidth) {
      fail(problems, "duplicate width " + format_general(widths[index]), at("$.widths", index));
    } else if (widths[index] < widths[index - 1]) {
      fail(problems,
           "widths must ascend, " + format_general(widths[index]) + " follows " + format_general(widths[index - 1]),
           at("$.widths", index));
    }
  }
}

// Two entries may name one file, but then with one spelling, hash and size.
void check_files(const ManifestDraft& draft, Problems& problems) {
  std::map<std::string, FileRef> first;  // by its name in lower case: the folder may be copied to where case is folded
  const auto check = [&](const FileRef& entry, const std::string& path) {
    const FileRef& known = first.emplace(lower_ascii(entry.file), entry).first->second;
    if (known.file != entry.file || known.sha256 != entry.sha256 || known.bytes != entry.bytes) {
      fail(problems, entry.file + " is named before with another hash, size or case", path + ".file");
    }
  };
  if (draft.graphs) {
    for (std::size_t i = 0; i < draft.graphs->size(); ++i) check((*draft.graphs)[i].file, at("$.graphs", i));
  }
  if (draft.tokenizer) check(draft.tokenizer->file, "$.tokenizer");
  if (draft.golden) check(*draft.golden, "$.golden");
  if (draft.files) {
    for (std::size_t i = 0; i < draft.files->size(); ++i) check((*draft.files)[i], at("$.files", i));
  }
}

// TFLite graphs are in one file and have buckets for every length that the tokenizer gives; ONNX has none.
void check_buckets(const ManifestDraft& draft, Problems& problems) {
  if (!draft.backend || !draft.buckets) return;
  const auto& buckets = *draft.buckets;
  if (*draft.backend == Backend::onnx) {
    if (buckets) fail(problems, "ONNX graphs take any number of tokens: expected null", "$.buckets");
    return;
  }
  if (!buckets) {
    fail(problems, "TFLite graphs take fixed numbers of tokens: expected these, got null", "$.buckets");
    return;
  }
  for (std::size_t index = 1; index < buckets->size(); ++index) {
    const std::int64_t before = (*buckets)[index - 1];
    const std::int64_t bucket = (*buckets)[index];
    if (bucket > before) continue;
    fail(problems, "buckets must ascend, " + std::to_string(bucket) + " follows " + std::to_string(before),
         at("$.buckets", index));
  }
  if (draft.tokenizer && buckets->back() < draft.tokenizer->max_length) {
    fail(problems,
         "the last bucket is " + std::to_string(buckets->back()) + ", and inputs may have " +
             std::to_string(draft.tokenizer->max_length) + " tokens",
         "$.buckets");
  }
  for (std::size_t index = 0; draft.graphs && index < draft.graphs->size(); ++index) {
    const std::string& file = (*draft.graphs)[index].file.file;
    const std::string& first = (*draft.graphs)[0].file.file;
    if (file == first) continue;
    fail(problems, "TFLite graphs share one file: expected " + first + ", got " + file, at("$.graphs", index) + ".file");
  }
}

void check_tail(const Graph& graph, const std::string& path, const ManifestDraft& draft, std::vector<double>& tails,
                Problems& problems) {
  const std::string width = format_general(*graph.width);
  if (has_width(tails, *graph.width)) fail(problems, "a second tail for width " + width, path + ".width");
  if (draft.widths && !has_width(*draft.widths, *graph.width)) {
    fail(problems, "width " + width + " is not in $.widths", path + ".width");
  }
  tails.push_back(*graph.width);
}

void check_graphs(const ManifestDraft& draft, Problems& problems) {
  std::size_t trunks = 0;
  for (const Graph& graph : *draft.graphs) trunks += graph.is_trunk;
  if (trunks != 1) fail(problems, "expected one trunk, got " + std::to_string(trunks), "$.graphs");
  std::vector<double> tails;
  for (std::size_t index = 0; index < draft.graphs->size(); ++index) {
    const Graph& graph = (*draft.graphs)[index];
    const std::string path = at("$.graphs", index);
    if (!graph.is_trunk && !graph.width) {
      fail(problems, "a tail needs its width, got null", path + ".width");
      continue;
    }
    if (graph.is_trunk && graph.width) {
      fail(problems, "the trunk has no width: expected null, got " + format_general(*graph.width), path + ".width");
    }
    if (!graph.is_trunk) check_tail(graph, path, draft, tails, problems);
    const std::string expected = graph.is_trunk ? "trunk" : tail_name(*graph.width);
    if (graph.name != expected) {
      fail(problems, "expected the name \"" + expected + "\", got " + json::show(graph.name), path + ".name");
    }
  }
  if (!draft.widths) return;
  for (std::size_t index = 0; index < draft.widths->size(); ++index) {
    if (!has_width(tails, (*draft.widths)[index])) {
      fail(problems, "width " + format_general((*draft.widths)[index]) + " has no tail in $.graphs", at("$.widths", index));
    }
  }
}

std::string show_dimension(const Dimension& size) {
  const auto* number = std::get_if<std::int64_t>(&size);
  return number != nullptr ? std::to_string(*number) : std::get<std::string>(size);
}

bool shape_fits(const std::vector<Dimension>& shape, const std::vector<std::optional<Dimension>>& expected) {
  if (shape.size() != expected.size()) return false;
  for (std::size_t index = 0; index < shape.size(); ++index) {
    const bool fits = expected[index] ? shape[index] == *expected[index] : shape[index].index() == 0;
    if (!fits) return false;
  }
  return true;
}

void check_tensors(const std::vector<TensorSpec>& tensors, const std::vector<Expected>& expected, const std::string& path,
                   Problems& problems) {
  std::vector<std::string> names;
  std::vector<std::string> wanted;
  for (const TensorSpec& tensor : tensors) names.push_back(tensor.name);
  for (const Expected& one : expected) wanted.emplace_back(one.name);
  if (names != wanted) {
    fail(problems, "expected the tensors " + join(wanted, ", ") + ", got " + join(names, ", "), path);
    return;
  }
  for (std::size_t index = 0; index < tensors.size(); ++index) {
    const TensorSpec& tensor = tensors[index];
    if (tensor.dtype != expected[index].dtype) {
      fail(problems, std::string("expected ") + expected[index].dtype + ", got " + tensor.dtype, at(path, index) + ".dtype");
    }
    if (shape_fits(tensor.shape, expected[index].shape)) continue;
    std::vector<std::string> found;
    std::vector<std::string> sizes;
    for (const Dimension& size : tensor.shape) found.push_back(show_dimension(size));
    for (const auto& size : expected[index].shape) sizes.push_back(size ? show_dimension(*size) : "hidden_size");
    fail(problems, "expected the shape (" + join(sizes, ", ") + "), got (" + join(found, ", ") + ")",
         at(path, index) + ".shape");
  }
}

std::optional<Dimension> hidden_size_of(const std::vector<Graph>& graphs) {
  for (const Graph& graph : graphs) {
    if (!graph.is_trunk) continue;
    for (const TensorSpec& tensor : graph.outputs) {
      if (tensor.name == "hidden" && tensor.shape.size() == 3 && tensor.shape[2].index() == 0) return tensor.shape[2];
    }
  }
  return std::nullopt;
}

// What a runtime feeds and reads (SPEC.md, section 3).
void check_signatures(const ManifestDraft& draft, Problems& problems) {
  const auto size = [](std::size_t number) { return Dimension(static_cast<std::int64_t>(number)); };
  const Dimension batch(std::string("batch"));
  const Dimension tokens(std::string("tokens"));
  const char* ids = *draft.backend == Backend::onnx ? "int64" : "int32";
  const Expected mask{"attention_mask", ids, {batch, tokens}};
  const Expected hidden{"hidden", "float32", {batch, tokens, hidden_size_of(*draft.graphs)}};
  for (std::size_t index = 0; index < draft.graphs->size(); ++index) {
    const Graph& graph = (*draft.graphs)[index];
    std::vector<Expected> inputs{hidden, mask};
    std::vector<Expected> outputs{{"logits", "float32", {batch, size(draft.labels->size())}}};
    if (graph.is_trunk) {
      inputs = {{"input_ids", ids, {batch, tokens}}, mask};
      if (draft.tokenizer->token_types) inputs.push_back({"token_type_ids", ids, {batch, tokens}});
      outputs = {hidden, {"router_logits", "float32", {batch, size(draft.widths->size())}}};
    }
    check_tensors(graph.inputs, inputs, at("$.graphs", index) + ".inputs", problems);
    check_tensors(graph.outputs, outputs, at("$.graphs", index) + ".outputs", problems);
  }
}

}  // namespace

void check_manifest_rules(const ManifestDraft& draft, Problems& problems) {
  if (draft.labels) check_labels(draft, problems);
  if (draft.widths) check_widths(*draft.widths, problems);
  if (draft.trunk_layers && draft.num_layers && *draft.trunk_layers >= *draft.num_layers) {
    fail(problems, "expected less than num_layers (" + std::to_string(*draft.num_layers) + ")", "$.trunk_layers");
  }
  check_files(draft, problems);
  check_buckets(draft, problems);
  if (!draft.graphs) return;
  check_graphs(draft, problems);
  if (draft.labels && draft.widths && draft.tokenizer && draft.backend) check_signatures(draft, problems);
}

}  // namespace sharcs
