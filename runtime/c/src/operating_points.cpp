#include "operating_points.h"

#include <cmath>

#include "attached.h"
#include "exact_sum.h"
#include "fields.h"
#include "text.h"

namespace sharcs {
namespace {

constexpr AttachedKind kKind{"operating_points.json", 1, "calibrate",
                             "run `sharcs-edge calibrate` again, or delete the file to route without it"};
constexpr double kCertainBias = 1e6;
constexpr double kLarge = 1e18;
constexpr double kShareSlack = 1e-6;

template <typename Bounds>
auto numbers(Bounds bounds, bool may_be_empty = false) {
  return [=](const json::Value& value, const std::string& path, Problems& problems) {
    return read_array<double>(value, path, problems, bounds, may_be_empty);
  };
}

std::optional<OperatingPoint> read_point(const json::Value& value, const std::string& path, Problems& problems) {
  const Fields fields(
      value, path, problems,
      {"bias", "thresholds", "shares", "starts", "macs", "mean_ms", "score", "drop", "drop_bound", "p_value", "certified"});
  const auto bias = fields.read("bias", numbers(Range{-kCertainBias, kCertainBias}));
  const auto thresholds = fields.read("thresholds", numbers(Range{0, 2}, true));
  const auto shares = fields.read("shares", numbers(Range{0, 1}));
  const auto starts = fields.read("starts", numbers(Range{0, 1}));
  const auto macs = fields.read("macs", Range{0, kLarge});
  const auto mean_ms = fields.read_or_null<double>("mean_ms", Range{0, kLarge});
  const auto score = fields.read_or_null<double>("score", Range{-1, 1});
  const auto drop = fields.read("drop", Range{-1, 1});
  const auto bound = fields.read("drop_bound", Range{-1, 1});
  const auto p_value = fields.read("p_value", Range{0, 1});
  const auto certified = fields.read("certified", read_bool);
  if (!bias || !thresholds || !shares || !starts || !macs || !mean_ms || !score || !drop || !bound || !p_value ||
      !certified) {
    return std::nullopt;
  }
  return OperatingPoint{*bias, *thresholds, *shares, *starts, *macs, *drop, *certified};
}

void check_point(const OperatingPoint& point, std::size_t widths, const std::string& path, Problems& problems) {
  const auto check_size = [&](const char* name, const std::vector<double>& values, std::size_t size) {
    if (values.size() == size) return;
    fail(problems,
         "expected " + std::to_string(size) + " numbers for " + std::to_string(widths) + " widths, got " +
             std::to_string(values.size()),
         path + "." + name);
  };
  check_size("bias", point.bias, widths);
  check_size("thresholds", point.thresholds, widths - 1);
  check_size("shares", point.shares, widths);
  check_size("starts", point.starts, widths);
  for (const auto& [name, values] : {std::pair("shares", &point.shares), std::pair("starts", &point.starts)}) {
    const double sum = exact_sum(*values);
    if (std::abs(sum - 1) > kShareSlack) {
      fail(problems, "expected shares that add up to 1, got " + format_general(sum), path + "." + name);
    }
  }
}

void check_last(const OperatingPoint& point, const std::string& path, Problems& problems) {
  for (const auto& [name, values] : {std::pair("shares", &point.shares), std::pair("starts", &point.starts)}) {
    if (!values->empty() && values->back() != 1) {
      fail(problems,
           "the last point runs the widest width for every text: expected 1.0, got " + format_general(values->back()),
           path + "." + name + "[" + std::to_string(values->size() - 1) + "]");
    }
  }
  if (point.drop != 0) {
    fail(problems, "the last point is the full width: expected a drop of 0.0, got " + format_general(point.drop),
         path + ".drop");
  }
  if (!point.certified) {
    fail(problems, "the last point is the full width: expected true, got false", path + ".certified");
  }
}

void check_front(const std::vector<OperatingPoint>& points, Problems& problems) {
  const auto path = [](std::size_t index) { return "$.points[" + std::to_string(index) + "]"; };
  for (std::size_t index = 0; index < points.size(); ++index) {
    check_point(points[index], points[0].bias.size(), path(index), problems);
  }
  for (std::size_t index = 1; index < points.size(); ++index) {
    if (points[index].macs < points[index - 1].macs) {
      fail(problems,
           "points must ascend in macs, " + format_general(points[index].macs) + " follows " +
               format_general(points[index - 1].macs),
           path(index) + ".macs");
    }
  }
  check_last(points.back(), path(points.size() - 1), problems);
}

}  // namespace

std::size_t OperatingPoints::default_point() const {
  std::size_t index = 0;
  while (!points[index].certified) ++index;  // the last one is
  return index;
}

std::vector<std::size_t> OperatingPoints::within(std::optional<double> allowed) const {
  const bool promised = allowed && max_drop <= *allowed;
  std::vector<std::size_t> chosen;
  for (std::size_t index = 0; index < points.size(); ++index) {
    if (!allowed || index + 1 == points.size() || (promised && points[index].certified)) chosen.push_back(index);
  }
  return chosen;
}

void OperatingPoints::check_fit(const Manifest& manifest, Problems& problems) const {
  if (points.back().bias.size() != manifest.widths.size()) {
    fail(problems,
         "the artifact has " + std::to_string(manifest.widths.size()) + " widths, these points are for " +
             std::to_string(points.back().bias.size()),
         "$.points");
  }
  if (value_scale.has_value() != (manifest.task == Task::regression)) {
    fail(problems,
         std::string("expected ") + (value_scale ? "null for a task without values" : "a number for regression") + ", got " +
             (value_scale ? format_general(*value_scale) : "null"),
         "$.value_scale");
  }
}

OperatingPoints OperatingPoints::parse(std::string_view data, const std::string& source) {
  const json::Value document = decode_attached(kKind, data, source);
  Problems problems;
  const Fields fields(document, "$", problems,
                      {"schema_version", "manifest_sha256", "created", "tools", "against", "samples", "tested", "metric",
                       "max_drop", "confidence", "method", "value_scale", "points"});
  fields.read("schema_version", Integer{kKind.version, kKind.version});
  const auto binding = fields.read("manifest_sha256", read_sha256);
  fields.read("created", read_text);
  fields.read("tools", read_texts);
  fields.read("against",
              [](const auto& v, const auto& p, auto& found) { return read_one_of(v, p, found, {"labels", "full"}); });
  const auto samples = fields.read("samples", Integer{1});
  const auto tested = fields.read("tested", Integer{0});
  fields.read("metric", read_text);
  const auto max_drop = fields.read("max_drop", Range{0, 1});
  const auto confidence = fields.read("confidence", Range{0, 1, true});
  fields.read("method", [](const json::Value& value, const std::string& path, Problems& found) {
    const Fields method(value, path, found, {"test", "bound"});
    method.read("test", read_text);
    return method.read("bound", read_text);
  });
  const auto value_scale = fields.read_or_null<double>("value_scale", Range{0, kLarge, true});
  const auto points = fields.read("points", [](const auto& v, const auto& p, auto& found) {
    return read_array<OperatingPoint>(v, p, found, read_point);
  });
  if (samples && tested && *tested > *samples) {
    fail(problems, "expected at most samples (" + std::to_string(*samples) + "), got " + std::to_string(*tested),
         "$.tested");
  }
  if (confidence == 1.0) fail(problems, "no test is certain: expected a number below 1, got 1.0", "$.confidence");
  if (points) check_front(*points, problems);
  throw_if_any(kKind, source, problems);
  return OperatingPoints{*binding, *max_drop, *value_scale, *points};
}

std::optional<OperatingPoints> OperatingPoints::load(const Artifact& artifact) {
  return load_attached<OperatingPoints>(kKind, artifact);
}

}  // namespace sharcs
