// latency.json: how long each graph of an artifact takes on one device (SPEC.md, section 13).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "artifact.h"
#include "json.h"

namespace sharcs {

struct GraphLatency {
  std::string name;
  std::vector<double> mean_ms;  // one per length
};

struct LatencyTable {
  std::string manifest_sha256;
  json::Value device;  // free facts
  std::int64_t threads = 1;
  std::vector<std::int64_t> lengths;  // tokens per input, ascending
  std::vector<GraphLatency> graphs;   // the trunk, then the tails in ascending width
  std::optional<double> watts;

  void check_fit(const Manifest& manifest, Problems& problems) const;

  // Throws SHARCS_ERROR_DOCUMENT listing every problem.
  static LatencyTable parse(std::string_view data, const std::string& source);
  // Of an artifact, nothing if it has none.
  static std::optional<LatencyTable> load(const Artifact& artifact);
};

}  // namespace sharcs
