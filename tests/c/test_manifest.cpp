#include "artifact.h"
#include "manifest.h"
#include "support.h"

using sharcs::Manifest;

namespace {

const std::string kGood = read_all(GOLDEN "/manifest_v1.json");

std::string problem(const std::string& from, const std::string& to) {
  const auto [status, message] = failure([&] { Manifest::parse(changed(kGood, from, to), "manifest.json"); });
  CHECK(status == SHARCS_ERROR_MANIFEST);
  return message;
}

}  // namespace

TEST_CASE("manifest: the golden one is read") {
  const Manifest manifest = Manifest::parse(kGood, "manifest.json");
  CHECK(manifest.task == sharcs::Task::classification);
  CHECK(manifest.widths.size() + 1 == manifest.graphs.size());
  CHECK(manifest.trunk().name == "trunk");
  CHECK(manifest.tail(manifest.widths.size() - 1).name == "tail_w100");
  CHECK(manifest.hidden_size() > 0);
  CHECK(manifest.all_files().size() >= manifest.graphs.size() + 2);
}

TEST_CASE("manifest: every violation is named with its path") {
  CHECK(contains(problem("\"family\":", "\"famly\":"), "unknown field famly @ $"));
  CHECK(contains(problem("\"family\":", "\"famly\":"), "missing field family @ $"));
  CHECK(contains(problem("\"schema_version\": 1", "\"schema_version\": 2"), "reads 1: update the library"));
  CHECK(contains(problem("\"schema_version\": 1", "\"schema_version\": true"), "expected an integer, got true"));
  CHECK(contains(problem("\"task\": \"classification\"", "\"task\": \"ranking\""),
                 "expected \"classification\" or \"multi_label\" or \"regression\", got \"ranking\" @ $.task"));
  CHECK(contains(problem("\"text_inputs\": 2", "\"text_inputs\": 3"), "expected an integer <= 2, got 3 @ $.text_inputs"));
  CHECK(contains(problem("\"backend\": \"onnx\"", "\"backend\": \"coreml\""), "@ $.backend"));
  CHECK(contains(problem("\"buckets\": null", "\"buckets\": [16, 8]"), "expected null @ $.buckets"));
  CHECK(contains(problem("\"backend\": \"onnx\"", "\"backend\": \"tflite\""), "expected these, got null @ $.buckets"));
  CHECK(contains(problem("\"name\": \"trunk\"", "\"name\": \"stem\""), "expected the name \"trunk\", got \"stem\""));
  CHECK(contains(problem("\"role\": \"trunk\"", "\"role\": \"tail\""), "expected one trunk, got 0 @ $.graphs"));
  CHECK(contains(problem("trunk.onnx", "../trunk.onnx"), "expected a plain file name"));
  CHECK(contains(problem("\"int64\"", "\"int16\""), "expected \"int64\" or \"int32\" or \"float32\", got \"int16\""));
  CHECK(contains(problem("\"attention_mask\"", "\"mask\""), "expected the tensors input_ids, attention_mask"));
  CHECK(contains(problem("\"per_row\": ", "\"per_row\": -"), "expected an integer >= 0, got -"));
}

TEST_CASE("manifest: all problems come at once, 20 are shown") {
  const auto [status, message] = failure([] { Manifest::parse("{}", "m"); });
  CHECK(status == SHARCS_ERROR_MANIFEST);
  CHECK(contains(message, "m: 17 problems in the manifest: missing field schema_version @ $; missing field family @ $"));
  std::string many = "{";
  for (int i = 0; i < 30; ++i) many += "\"x" + std::to_string(i) + "\": 1,";
  CHECK(contains(failure([&] { Manifest::parse(many + "\"y\": 1}", "m"); }).second, "; and 28 more"));
}

TEST_CASE("manifest: what is no JSON is said so") {
  CHECK(contains(failure([] { Manifest::parse("{\"a\": NaN}", "m"); }).second,
                 "m: 1 problem in the manifest: it is not UTF-8 JSON"));
  CHECK(contains(failure([] { Manifest::parse("[]", "m"); }).second, "expected an object, got an array @ $"));
}

TEST_CASE("manifest: names of tails round half to even") {
  CHECK(sharcs::tail_name(0.25) == "tail_w025");
  CHECK(sharcs::tail_name(1.0 / 12) == "tail_w008");
  CHECK(sharcs::tail_name(1.0) == "tail_w100");
  CHECK(sharcs::tail_name(0.125) == "tail_w012");
  CHECK(sharcs::tail_name(0.375) == "tail_w038");
}

TEST_CASE("artifact: a folder that is none") {
  const TemporaryFolder folder;
  const auto open = [](const std::string& path) { return failure([&] { sharcs::Artifact::open(path, true); }); };
  CHECK(contains(open(folder.path / "none").second, "does not exist; expected an artifact folder"));
  CHECK(contains(open(folder.path).second, "holds no manifest.json"));
  write_all(folder.path / "file", "");
  CHECK(contains(open(folder.path / "file").second, "is a file"));
  write_all(folder.path / "manifest.json", kGood);
  CHECK(contains(open(folder.path).second, "which is not there: copy the artifact again"));
}
