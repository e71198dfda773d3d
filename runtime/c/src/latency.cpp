#include "latency.h"

#include "attached.h"
#include "fields.h"
#include "text.h"

namespace sharcs {
namespace {

constexpr AttachedKind kKind{"latency.json", 1, "profile", "run `sharcs-edge profile --save` again, or delete the file"};
constexpr double kLarge = 1e12;

struct Column {
  std::string path;
  std::size_t size;
};

std::optional<std::vector<double>> read_times(const json::Value& value, const std::string& path, Problems& problems) {
  return read_array<double>(value, path, problems, Range{0, kLarge, true});
}

// Free JSON: facts differ from machine to machine.
std::optional<json::Value> read_facts(const json::Value& value, const std::string& path, Problems& problems) {
  if (value.as<json::Object>() != nullptr) return value;
  fail(problems, "expected an object, got " + json::show(value), path);
  return std::nullopt;
}

std::optional<double> read_watts(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(value, path, problems, {"value", "source"});
  const auto watts = fields.read("value", Range{0, kLarge, true});
  const auto source = fields.read("source", read_text);
  return source ? watts : std::nullopt;
}

// `columns`: the number of figures of each row, to be checked against the lengths.
std::optional<GraphLatency> read_graph(const json::Value& value, const std::string& path, Problems& problems,
                                       std::vector<Column>& columns) {
  const Fields fields(value, path, problems, {"name", "mean_ms", "p95_ms"});
  const auto name = fields.read("name", read_text);
  const auto mean = fields.read("mean_ms", read_times);
  const auto p95 = fields.read("p95_ms", read_times);
  if (mean) columns.push_back({path + ".mean_ms", mean->size()});
  if (p95) columns.push_back({path + ".p95_ms", p95->size()});
  if (!name || !mean || !p95) return std::nullopt;
  return GraphLatency{*name, *mean};
}

void check_lengths(const std::vector<std::int64_t>& lengths, const std::vector<Column>& columns, Problems& problems) {
  for (std::size_t index = 1; index < lengths.size(); ++index) {
    if (lengths[index] > lengths[index - 1]) continue;
    fail(problems,
         "lengths must ascend, " + std::to_string(lengths[index]) + " follows " + std::to_string(lengths[index - 1]),
         "$.lengths[" + std::to_string(index) + "]");
  }
  for (const Column& column : columns) {
    if (column.size == lengths.size()) continue;
    fail(problems,
         "expected " + std::to_string(lengths.size()) + " numbers, one per length, got " + std::to_string(column.size),
         column.path);
  }
}

}  // namespace

void LatencyTable::check_fit(const Manifest& manifest, Problems& problems) const {
  std::vector<std::string> expected{manifest.trunk().name};
  std::vector<std::string> names;
  for (std::size_t index = 0; index < manifest.widths.size(); ++index) expected.push_back(manifest.tail(index).name);
  for (const GraphLatency& graph : graphs) names.push_back(graph.name);
  if (names != expected) {
    fail(problems, "expected the graphs " + join(expected, ", ") + ", got " + join(names, ", "), "$.graphs");
  }
}

LatencyTable LatencyTable::parse(std::string_view data, const std::string& source) {
  const json::Value document = decode_attached(kKind, data, source);
  Problems problems;
  std::vector<Column> columns;
  const Fields fields(document, "$", problems,
                      {"schema_version", "manifest_sha256", "created", "device", "runtime", "threads", "verdict", "lengths",
                       "tokenise_ms", "graphs", "watts"});
  fields.read("schema_version", Integer{kKind.version, kKind.version});
  const auto binding = fields.read("manifest_sha256", read_sha256);
  fields.read("created", read_text);
  const auto device = fields.read("device", read_facts);
  fields.read("runtime", read_facts);
  const auto threads = fields.read("threads", Integer{1});
  fields.read("verdict", [](const auto& v, const auto& p, auto& found) {
    return read_one_of(v, p, found, {"stable", "noisy", "throttled"});
  });
  const auto lengths = fields.read("lengths", [](const auto& v, const auto& p, auto& found) {
    return read_array<std::int64_t>(v, p, found, Integer{1});
  });
  const auto tokenise = fields.read("tokenise_ms", read_times);
  if (tokenise) columns.push_back({"$.tokenise_ms", tokenise->size()});
  const auto graphs = fields.read("graphs", [&](const auto& value, const auto& path, auto& found) {
    return read_array<GraphLatency>(value, path, found, [&](const auto& one, const auto& place, auto& list) {
      return read_graph(one, place, list, columns);
    });
  });
  const auto watts = fields.read_or_null<double>("watts", read_watts);
  if (lengths) check_lengths(*lengths, columns, problems);
  throw_if_any(kKind, source, problems);
  return LatencyTable{*binding, *device, *threads, *lengths, *graphs, *watts};
}

std::optional<LatencyTable> LatencyTable::load(const Artifact& artifact) {
  return load_attached<LatencyTable>(kKind, artifact);
}

}  // namespace sharcs
