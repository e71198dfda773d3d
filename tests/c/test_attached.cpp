#include "latency.h"
#include "operating_points.h"
#include "support.h"

using sharcs::LatencyTable;
using sharcs::OperatingPoints;

namespace {

const std::string kPoints = read_all(GOLDEN "/operating_points_v1.json");
const std::string kLatency = read_all(GOLDEN "/latency_v1.json");

template <typename Attached>
std::string problem(const std::string& good, const std::string& from, const std::string& to) {
  const auto [status, message] = failure([&] { Attached::parse(changed(good, from, to), "file"); });
  CHECK(status == SHARCS_ERROR_DOCUMENT);
  return message;
}

}  // namespace

TEST_CASE("operating points: the golden ones are read") {
  const OperatingPoints points = OperatingPoints::parse(kPoints, "file");
  CHECK(points.points.back().certified);
  CHECK(points.points[points.default_point()].certified);
  CHECK(points.within(std::nullopt).size() == points.points.size());
  CHECK(points.within(points.max_drop).back() == points.points.size() - 1);
  CHECK(points.within(points.max_drop / 2) == std::vector<std::size_t>{points.points.size() - 1});
}

TEST_CASE("operating points: violations are named, with the cure") {
  const std::string unknown = problem<OperatingPoints>(kPoints, "\"metric\":", "\"metrc\":");
  CHECK(contains(unknown, "unknown field metrc @ $"));
  CHECK(contains(unknown, "run `sharcs-edge calibrate` again, or delete the file to route without it"));
  CHECK(contains(problem<OperatingPoints>(kPoints, "\"schema_version\": 1", "\"schema_version\": 2"), "calibrate again"));
  CHECK(contains(problem<OperatingPoints>(kPoints, "\"bias\": [", "\"bias\": [0.0,"), "numbers for"));
  CHECK(contains(problem<OperatingPoints>(kPoints, "\"confidence\": 0.", "\"confidence\": 1.0, \"x\": 0."),
                 "no test is certain"));
}

TEST_CASE("latency: the golden one is read") {
  const LatencyTable table = LatencyTable::parse(kLatency, "file");
  CHECK(table.lengths == std::vector<std::int64_t>{16, 64});
  CHECK(table.graphs[0].mean_ms == std::vector<double>{1.5, 4.25});
  CHECK(table.device.find("cores") != nullptr);
}

TEST_CASE("latency: violations are named") {
  CHECK(
      contains(problem<LatencyTable>(kLatency, "    16,", "    65,"), "lengths must ascend, 64 follows 65 @ $.lengths[1]"));
  CHECK(
      contains(problem<LatencyTable>(kLatency, "    16,", ""), "expected 1 numbers, one per length, got 2 @ $.tokenise_ms"));
  CHECK(contains(problem<LatencyTable>(kLatency, "\"stable\"", "\"calm\""), "@ $.verdict"));
}
