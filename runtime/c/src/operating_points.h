// operating_points.json: what `calibrate` found out about an artifact (SPEC.md, section 14).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact.h"

namespace sharcs {

// One setting of the routing, with its cost.
struct OperatingPoint {
  std::vector<double> bias;        // added to the router logits, one per width
  std::vector<double> thresholds;  // confidence below which a tail hands on; the widest has none
  std::vector<double> shares;
  std::vector<double> starts;
  double macs = 0;
  double drop = 0;
  bool certified = false;
};

struct OperatingPoints {
  std::string manifest_sha256;
  double max_drop = 0;
  std::optional<double> value_scale;
  std::vector<OperatingPoint> points;  // ascending in macs; the last one is the widest width alone

  // The point of a session whose budget asks for none: the cheapest certified one.
  std::size_t default_point() const;
  // The points that a budget of this `max_drop` may use, ascending; without one, all.
  std::vector<std::size_t> within(std::optional<double> max_drop) const;
  void check_fit(const Manifest& manifest, Problems& problems) const;

  // Throws SHARCS_ERROR_DOCUMENT listing every problem.
  static OperatingPoints parse(std::string_view data, const std::string& source);
  // Of an artifact, nothing if it has none.
  static std::optional<OperatingPoints> load(const Artifact& artifact);
};

}  // namespace sharcs
