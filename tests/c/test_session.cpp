// Sessions over tiny artifacts, through the C interface: predictions are those of the Python runtime.
#include <cmath>
#include <cstddef>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "json.h"
#include "sharcs_edge.h"
#include "support.h"

namespace json = sharcs::json;

namespace {

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* object) const { Free(object); }
};
using SessionHandle = std::unique_ptr<sharcs_session, Deleter<sharcs_session, sharcs_session_free>>;
using PredictionHandle = std::unique_ptr<sharcs_prediction, Deleter<sharcs_prediction, sharcs_prediction_free>>;
using BudgetHandle = std::unique_ptr<sharcs_budget, Deleter<sharcs_budget, sharcs_budget_free>>;
using ErrorHandle = std::unique_ptr<sharcs_error, Deleter<sharcs_error, sharcs_error_free>>;

struct Result {
  sharcs_status status;
  std::string message;
};

Result open(const std::string& folder, SessionHandle& out, sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT) {
  sharcs_session* session = nullptr;
  sharcs_error* error = nullptr;
  if (options.onnxruntime == nullptr) options.onnxruntime = ONNXRUNTIME;
  const sharcs_status status = sharcs_session_create(folder.c_str(), &options, &session, &error);
  const ErrorHandle held(error);
  out.reset(session);
  CHECK((status == SHARCS_OK) == (session != nullptr));
  return {status, sharcs_error_message(error)};
}

SessionHandle open(const std::string& folder) {
  SessionHandle session;
  const Result result = open(folder, session);
  REQUIRE_MESSAGE(result.status == SHARCS_OK, result.message);
  return session;
}

std::vector<sharcs_text> views(const std::vector<std::string>& texts) {
  std::vector<sharcs_text> found;
  for (const std::string& text : texts) found.push_back({text.data(), text.size()});
  return found;
}

Result predict(sharcs_session* session, const std::vector<std::string>& texts, const sharcs_budget* budget,
               PredictionHandle& out) {
  sharcs_prediction* prediction = nullptr;
  sharcs_error* error = nullptr;
  const auto given = views(texts);
  const sharcs_status status = sharcs_session_predict(session, given.data(), given.size(), budget, &prediction, &error);
  const ErrorHandle held(error);
  out.reset(prediction);
  return {status, sharcs_error_message(error)};
}

BudgetHandle make_budget(const sharcs_limits& limits) {
  sharcs_budget_options options = SHARCS_BUDGET_OPTIONS_INIT;
  options.limits = limits;
  sharcs_budget* budget = nullptr;
  REQUIRE(sharcs_budget_create(&options, &budget, nullptr) == SHARCS_OK);
  return BudgetHandle(budget);
}

double number(const json::Value& value) {
  const auto* integer = value.as<std::int64_t>();
  return integer != nullptr ? static_cast<double>(*integer) : value.as<json::Number>()->value;
}

BudgetHandle read_budget(const json::Value& json) {
  sharcs_limits limits{};
  for (const auto& [name, value] : *json.as<json::Object>()) {
    if (name == "width") limits.width = number(value);
    if (name == "min_width") limits.min_width = number(value);
    if (name == "max_width") limits.max_width = number(value);
    if (name == "memory_mb") limits.memory_mb = number(value);
    if (name == "max_drop") limits.max_drop = number(value), limits.has_max_drop = 1;
  }
  return make_budget(limits);
}

// Scores differ by how the engine rounds on this machine, those of int8 graphs by a step of an activation (the artifact's
// own tolerance); decisions must not.
constexpr double kRounding = 1e-5;
bool close(double a, double b, double tolerance) { return std::abs(a - b) <= tolerance; }

void check_numbers(const json::Value* expected, const double* found, std::size_t count, double tolerance) {
  if (expected == nullptr) {
    CHECK(count == 0);
    return;
  }
  const auto& values = *expected->as<json::Array>();
  REQUIRE(values.size() == count);
  for (std::size_t i = 0; i < count; ++i) CHECK(close(number(values[i]), found[i], tolerance));
}

void check_number(const json::Value* expected, double found, double tolerance) {
  if (expected == nullptr) {
    CHECK(std::isnan(found));
  } else {
    CHECK(close(number(*expected), found, tolerance));
  }
}

void check_answer(const json::Value& expected, const sharcs_prediction& found, double tolerance) {
  const auto* label = expected.find("label");
  CHECK((label == nullptr ? std::string() : *label->as<std::string>()) == (found.label == nullptr ? "" : found.label));
  check_number(expected.find("score"), found.score, tolerance);
  check_number(expected.find("value"), found.value, tolerance);
  check_number(expected.find("confidence"), found.confidence, tolerance);
  check_numbers(expected.find("scores"), found.scores, found.num_scores, tolerance);
  check_numbers(expected.find("ran"), found.ran, found.num_ran, kRounding);
  if (const auto* labels = expected.find("labels")) {
    const auto& names = *labels->as<json::Array>();
    REQUIRE(names.size() == found.num_labels);
    for (std::size_t i = 0; i < names.size(); ++i) CHECK(*names[i].as<std::string>() == found.labels[i]);
  }
  CHECK(close(number(*expected.find("width")), found.width, kRounding));
  CHECK(*expected.find("reason")->as<std::string>() == sharcs_reason_name(found.reason));
  const auto* point = expected.find("point");
  CHECK((point == nullptr ? -1 : *point->as<std::int64_t>()) == found.point);
  const auto* met = expected.find("budget_met");
  CHECK((met == nullptr ? -1 : static_cast<int>(*met->as<bool>())) == found.budget_met);
  CHECK(*expected.find("tokens")->as<std::int64_t>() == found.tokens);
  CHECK(*expected.find("truncated")->as<bool>() == (found.truncated != 0));
  CHECK(found.milliseconds > 0);
}

const std::string kArtifact = DATA "/classification";

}  // namespace

TEST_CASE("session: predictions are those of the Python runtime") {
  for (const char* name : {"classification", "multi_label", "regression", "pairs", "shared", "int8"}) {
    const SessionHandle session = open(std::string(DATA "/") + name);
    const json::Value golden = json::decode(read_all(std::string(DATA "/") + name + ".json"));
    const json::Value manifest = json::decode(read_all(std::string(DATA "/") + name + "/manifest.json"));
    const bool integers = std::string(name) == "int8";
    const double tolerance = integers ? number(*manifest.find("tolerance")->find("logits")) : kRounding;
    for (const json::Value& row : *golden.as<json::Array>()) {
      std::vector<std::string> texts;
      for (const json::Value& text : *row.find("texts")->as<json::Array>()) texts.push_back(*text.as<std::string>());
      const BudgetHandle budget = read_budget(*row.find("budget"));
      PredictionHandle answer;
      CAPTURE(name);
      CAPTURE(texts[0]);
      const Result result = predict(session.get(), texts, budget.get(), answer);
      REQUIRE_MESSAGE(result.status == SHARCS_OK, result.message);
      check_answer(*row.find("answer"), *answer, tolerance);
    }
  }
}

TEST_CASE("session: a batch answers in the order given, as one by one") {
  const SessionHandle session = open(kArtifact);
  const std::vector<std::string> texts{"turn on the light", "light", "play some music", "what is the weather today?",
                                       "a table"};
  const auto given = views(texts);
  for (std::size_t batch_size : {0, 1, 2, 5}) {
    std::vector<sharcs_prediction*> found(texts.size());
    REQUIRE(sharcs_session_predict_batch(session.get(), given.data(), given.size(), batch_size, nullptr, found.data(),
                                         nullptr) == SHARCS_OK);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const PredictionHandle batched(found[i]);
      PredictionHandle alone;
      REQUIRE(predict(session.get(), {texts[i]}, nullptr, alone).status == SHARCS_OK);
      CHECK(batched->label_index == alone->label_index);
      CHECK(batched->width == alone->width);
      CHECK(batched->reason == alone->reason);
      CHECK(close(batched->score, alone->score, kRounding));
    }
  }
}

TEST_CASE("session: one bad text refuses its batch, by its place, and hands nothing out") {
  const SessionHandle session = open(kArtifact);
  const std::vector<std::string> texts{"light", " "};
  const auto given = views(texts);
  sharcs_prediction* found[2] = {reinterpret_cast<sharcs_prediction*>(1), nullptr};
  sharcs_error* error = nullptr;
  CHECK(sharcs_session_predict_batch(session.get(), given.data(), 2, 0, nullptr, found, &error) == SHARCS_ERROR_INPUT);
  const ErrorHandle held(error);
  CHECK(std::string(sharcs_error_message(error)) ==
        "text 1 of the batch is only white space; give a text or leave the input out");
  CHECK(found[0] == nullptr);
}

TEST_CASE("session: what it is") {
  const SessionHandle session = open(kArtifact);
  const sharcs_session_info* info = sharcs_session_get_info(session.get());
  CHECK(info->num_widths == 3);
  CHECK(std::string(info->labels[1]) == "music");
  CHECK(info->task == SHARCS_CLASSIFICATION);
  CHECK(info->text_inputs == 1);
  CHECK(info->num_points == 3);
  CHECK(std::strlen(info->onnxruntime_version) > 0);
}

TEST_CASE("session: a deadline measures the graphs and is kept or said") {
  const SessionHandle session = open(kArtifact);
  const BudgetHandle wide = make_budget({0, 0, 0, 0, 60000, 0, 0, 0, 0, 0});
  const BudgetHandle narrow = make_budget({0, 0, 0, 0, 1e-6, 0, 0, 0, 0, 0});
  PredictionHandle answer;
  REQUIRE(predict(session.get(), {"turn on the light"}, wide.get(), answer).status == SHARCS_OK);
  CHECK(answer->budget_met == 1);
  REQUIRE(predict(session.get(), {"turn on the light"}, narrow.get(), answer).status == SHARCS_OK);
  CHECK(answer->budget_met == 0);
  CHECK(answer->width == 0.25);
}

TEST_CASE("session: threads share it") {
  const SessionHandle session = open(kArtifact);
  const BudgetHandle budget = make_budget({0, 0, 0, 5, 50, 14, 0, 0, 0, 0});
  PredictionHandle first;
  REQUIRE(predict(session.get(), {"play some music"}, nullptr, first).status == SHARCS_OK);
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t number = 0; number < wrong.size(); ++number) {
    threads.emplace_back([&, number] {
      for (int turn = 0; turn < 50; ++turn) {
        const sharcs_text text{"play some music", 15};
        sharcs_prediction* answer = nullptr;
        const bool limited = number % 2 == 1;
        const auto status =
            sharcs_session_predict(session.get(), &text, 1, limited ? budget.get() : nullptr, &answer, nullptr);
        const PredictionHandle held(answer);
        wrong[number] += status != SHARCS_OK ||
                         (!limited && (answer->label_index != first->label_index || answer->width != first->width));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int count : wrong) CHECK(count == 0);
}

TEST_CASE("session: every artifact agrees with its golden answers, and another one's are named") {
  for (const char* name : {"classification", "multi_label", "regression", "pairs", "shared", "int8"}) {
    const SessionHandle session = open(std::string(DATA "/") + name);
    sharcs_error* error = nullptr;
    const sharcs_status status = sharcs_session_verify(session.get(), &error);
    const ErrorHandle held(error);
    CHECK_MESSAGE(status == SHARCS_OK, sharcs_error_message(error));
  }
  const TemporaryFolder folder;
  const std::string copy = folder.path / "artifact";
  std::filesystem::copy(kArtifact, copy);
  const std::string manifest = read_all(copy + "/manifest.json");
  write_all(copy + "/manifest.json", changed(manifest, "\"logits\": 0.0001", "\"logits\": 1e-12"));
  SessionHandle session;
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  options.uncalibrated = 1;
  REQUIRE(open(copy, session, options).status == SHARCS_OK);
  sharcs_error* error = nullptr;
  CHECK(sharcs_session_verify(session.get(), &error) == SHARCS_ERROR_PARITY);
  const ErrorHandle held(error);
  CHECK(contains(sharcs_error_message(error), "tail_w025: max abs logit difference "));
  CHECK(contains(sharcs_error_message(error), " > 1e-12 (golden row "));
}

TEST_CASE("session: faults are refused by name") {
  SessionHandle session;
  const TemporaryFolder folder;
  const std::string copy = folder.path / "artifact";
  const auto fresh = [&] {
    std::filesystem::remove_all(copy);
    std::filesystem::copy(kArtifact, copy);
  };
  fresh();
  write_all(copy + "/tail_w050.onnx", read_all(copy + "/tail_w050.onnx") + "x");
  CHECK(contains(open(copy, session).message, "bytes, the manifest says"));
  fresh();
  std::string bytes = read_all(copy + "/tail_w050.onnx");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_all(copy + "/tail_w050.onnx", bytes);
  CHECK(contains(open(copy, session).message, "has SHA-256"));
  fresh();
  std::filesystem::remove(copy + "/golden.npz");
  CHECK(contains(open(copy, session).message, "the manifest names golden.npz, which is not there"));
  fresh();
  std::filesystem::remove(copy + "/tokenizer.json");
  std::filesystem::create_symlink(kArtifact + "/tokenizer.json", copy + "/tokenizer.json");
  CHECK(contains(open(copy, session).message, "is a link that leads out of the artifact"));
  fresh();
  write_all(copy + "/manifest.json", changed(read_all(copy + "/manifest.json"), "tiny-28", "tiny-29"));
  const Result other = open(copy, session);
  CHECK(other.status == SHARCS_ERROR_ARTIFACT);
  CHECK(contains(other.message, "was made for another artifact"));
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  options.uncalibrated = 1;
  CHECK(open(copy, session, options).status == SHARCS_OK);
}

TEST_CASE("session: a graph that gives other numbers than it declares is refused, not read beyond its end") {
  const TemporaryFolder folder;
  const std::string copy = folder.path / "artifact";
  std::filesystem::copy(kArtifact, copy);
  // The last dimension of the output becomes 4 in manifest and graphs; what they compute stays 3 numbers wide.
  std::string manifest = changed(read_all(copy + "/manifest.json"), "\"weather\"", "\"weather\", \"other\"");
  const std::string output = "\x0a\x06logits\x12";
  for (const char* graph : {"tail_w025", "tail_w050", "tail_w100"}) {
    const std::size_t place = manifest.find("\"logits\",", manifest.find("\"name\": \"" + std::string(graph) + "\""));
    manifest.replace(manifest.find(" 3\n", place), 2, " 4");
    const std::string file = copy + "/" + graph + ".onnx";
    std::string bytes = read_all(file);
    const std::size_t size = bytes.find("\x0a\x02\x08\x03", bytes.rfind(output));  // a Dimension of 3
    REQUIRE(size < bytes.size());
    bytes[size + 3] = '\x04';
    write_all(file, bytes);
  }
  write_all(copy + "/manifest.json", manifest);
  SessionHandle session;
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  options.uncalibrated = 1;
  options.skip_hashes = 1;
  const Result opened = open(copy, session, options);
  REQUIRE_MESSAGE(opened.status == SHARCS_OK, opened.message);
  PredictionHandle answer;
  const Result result = predict(session.get(), {"play some music"}, nullptr, answer);
  CHECK(result.status == SHARCS_ERROR_ARTIFACT);
  CHECK(result.message == "a graph gave 3 numbers where the manifest asks for 4: export the artifact again");
}

TEST_CASE("session: weights beside the graphs are checked as the graphs are, and found from any folder") {
  const std::string shared = std::string(DATA) + "/shared";
  const TemporaryFolder folder;
  const std::string copy = folder.path / "artifact";
  std::filesystem::copy(shared, copy);
  SessionHandle session;
  REQUIRE(open(copy, session).status == SHARCS_OK);
  std::string bytes = read_all(copy + "/weights.bin");
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  write_all(copy + "/weights.bin", bytes);
  CHECK(contains(open(copy, session).message, "weights.bin has SHA-256"));
  write_all(copy + "/weights.bin", bytes.substr(1));
  CHECK(contains(open(copy, session).message, "weights.bin has "));
  std::filesystem::remove(copy + "/weights.bin");
  CHECK(contains(open(copy, session).message, "the manifest names weights.bin, which is not there"));
}

TEST_CASE("session: structs of older and newer programs") {
  struct {
    sharcs_budget_options known = SHARCS_BUDGET_OPTIONS_INIT;
    double added = 0;
  } newer;
  newer.known.struct_size = sizeof newer;
  newer.known.limits.max_width = 0.5;
  sharcs_budget* budget = nullptr;
  CHECK(sharcs_budget_create(&newer.known, &budget, nullptr) == SHARCS_OK);
  sharcs_budget_free(budget);
  newer.added = 1;
  sharcs_error* error = nullptr;
  CHECK(sharcs_budget_create(&newer.known, &budget, &error) == SHARCS_ERROR_USAGE);
  const ErrorHandle held(error);
  CHECK(contains(sharcs_error_message(error), "a field that this version of the library does not know"));
  newer.known.struct_size = offsetof(sharcs_budget_options, watts);
  newer.known.watts = -1;  // behind the end of the older struct
  CHECK(sharcs_budget_create(&newer.known, &budget, nullptr) == SHARCS_OK);
  sharcs_budget_free(budget);
}

TEST_CASE("session: calls that cannot be") {
  SessionHandle session;
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  options.threads = -1;
  CHECK(open(kArtifact, session, options).status == SHARCS_ERROR_USAGE);
  options = SHARCS_SESSION_OPTIONS_INIT;
  options.onnxruntime = "/none/libonnxruntime.so";
  CHECK(open(kArtifact, session, options).status == SHARCS_ERROR_ENGINE);
  options = SHARCS_SESSION_OPTIONS_INIT;
  options.struct_size = 0;
  CHECK(open(kArtifact, session, options).status == SHARCS_ERROR_USAGE);
  options = SHARCS_SESSION_OPTIONS_INIT;
  options.reserved = 1;
  CHECK(open(kArtifact, session, options).message == "reserved is 1; expected 0");
  CHECK(sharcs_session_create(nullptr, nullptr, nullptr, nullptr) == SHARCS_ERROR_USAGE);
  const SessionHandle good = open(kArtifact);
  PredictionHandle answer;
  CHECK(contains(predict(good.get(), {"a", "b"}, nullptr, answer).message, "takes one text per input"));
  const BudgetHandle budget = make_budget({0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(predict(good.get(), {"a"}, budget.get(), answer).message ==
        "there is no width 0.3: there are 0.25, 0.5, 1; use one of these");
  const BudgetHandle small = make_budget({0, 0, 0, 0, 0, 1, 0, 0, 0, 0});
  CHECK(contains(predict(good.get(), {"a"}, small.get(), answer).message,
                 "memory_mb is 1, and the trunk with tail_w025 takes"));
  sharcs_conditions conditions = SHARCS_CONDITIONS_INIT;
  conditions.known = 16;
  CHECK(sharcs_session_push_conditions(good.get(), &conditions, nullptr) == SHARCS_ERROR_USAGE);
  sharcs_session_free(nullptr);
  sharcs_prediction_free(nullptr);
  sharcs_budget_free(nullptr);
  sharcs_error_free(nullptr);
}
