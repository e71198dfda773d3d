// What a prediction spends on each of its steps, as JSON: tokens, trunk, each tail, and what the library adds to them.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "arguments.h"
#include "condition_reader.h"
#include "golden.h"
#include "session.h"
#include "steps.h"
#include "timed_onnxruntime.h"

namespace {

using Json = nlohmann::ordered_json;
using sharcs::Session;

constexpr const char* kHelp =
    "Usage: sharcs-edge-bench ARTIFACT [OPTION]...\n"
    "\n"
    "Times predictions of the artifact's golden texts, or of a file's, as they are routed and at each width, and in them\n"
    "the tokens, each run of a graph, and the overhead: what neither ONNX Runtime nor the tokens take. Every round runs\n"
    "each text once in every way, so that drift meets all alike. Writes one JSON object, times in milliseconds.\n"
    "\n"
    "  --texts FILE         one text per line; pairs are separated by a tab\n"
    "  --rounds N           default 20, after 2 that do not count\n"
    "  --threads N          that compute one prediction (default 1)\n"
    "  --onnxruntime FILE   library of ONNX Runtime\n"
    "  --skip-hashes        check the sizes of the artifact's files alone\n"
    "  --steps              carry out what `sharcs-edge profile --runner` asks for on the standard input, instead\n"
    "  --version, --help\n";

constexpr int kWarmUp = 2;

struct Input {
  std::vector<std::string> parts;
  std::vector<sharcs_text> views() const {
    std::vector<sharcs_text> found;
    for (const std::string& part : parts) found.push_back({part.data(), part.size()});
    return found;
  }
};

// Milliseconds of a step, one per round and text.
struct Samples {
  std::vector<double> values;
  Json summary() const {
    std::vector<double> sorted = values;
    std::sort(sorted.begin(), sorted.end());
    const auto at = [&](double share) {
      return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
    };
    const double sum = std::accumulate(sorted.begin(), sorted.end(), 0.0);
    return Json{{"n", sorted.size()},    {"mean", sum / static_cast<double>(sorted.size())},
                {"min", sorted.front()}, {"p50", at(0.5)},
                {"p90", at(0.9)},        {"p95", at(0.95)},
                {"p99", at(0.99)}};
  }
};

// Of whole predictions, at one width or as they are routed.
struct Whole {
  Samples predict;
  Samples overhead;  // predict less all calls of ONNX Runtime in it and its tokens
};

struct Steps {
  Samples tokenise;
  Samples tokenise_alone;  // without a graph before it, which takes the caches
  Samples trunk;
  std::vector<Samples> tails;
  std::vector<Whole> widths;
  Whole routed;
  std::vector<std::size_t> answered;  // by each width, of the routed ones
};

double milliseconds_since(double start) { return (sharcs::steady_seconds() - start) * 1000; }

// One prediction, which the calls of ONNX Runtime in it and, behind it, its tokens by themselves belong to: both follow the
// run of a tail and find the caches alike.
sharcs::Prediction run_one(Session& session, const std::vector<sharcs_text>& texts, const sharcs::Budget* budget,
                           Steps& steps, Whole& whole) {
  const tools::TimedCalls& calls = tools::timed_calls();
  tools::timed_calls().reset();
  double start = sharcs::steady_seconds();
  sharcs::Prediction prediction = session.predict(texts.data(), texts.size(), budget);
  const double predict = milliseconds_since(start);
  start = sharcs::steady_seconds();
  session.tokenizer().encode(texts.data(), texts.size(), "the text");
  const double tokenise = milliseconds_since(start);
  whole.predict.values.push_back(predict);
  whole.overhead.values.push_back(predict - calls.all * 1000 - tokenise);
  steps.tokenise.values.push_back(tokenise);
  steps.trunk.values.push_back(calls.runs[0] * 1000);
  for (std::size_t run = 1; run < calls.runs.size(); ++run) {
    steps.tails[prediction.ran[run - 1]].values.push_back(calls.runs[run] * 1000);
  }
  return prediction;
}

// One text as it is routed, and at each width behind a prediction that does not count, so that the tail's weights are in
// the caches.
void run_text(Session& session, const Input& input, Steps& steps) {
  const auto views = input.views();
  ++steps.answered[run_one(session, views, nullptr, steps, steps.routed).width];
  for (std::size_t index = 0; index < session.manifest().widths.size(); ++index) {
    sharcs::Budget budget;
    budget.limits.values[sharcs::Limits::width] = session.manifest().widths[index];
    session.predict(views.data(), views.size(), &budget);
    run_one(session, views, &budget, steps, steps.widths[index]);
  }
}

// All texts behind one another.
void tokenise_texts(const Session& session, const std::vector<Input>& inputs, Steps& steps) {
  for (const Input& input : inputs) {
    const auto views = input.views();
    const double start = sharcs::steady_seconds();
    session.tokenizer().encode(views.data(), views.size(), "the text");
    steps.tokenise_alone.values.push_back(milliseconds_since(start));
  }
}

Steps empty_steps(std::size_t widths) {
  Steps steps;
  steps.tails.resize(widths);
  steps.widths.resize(widths);
  steps.answered.resize(widths);
  return steps;
}

std::vector<Input> golden_texts(const Session& session) {
  const sharcs::Golden golden = sharcs::Golden::load(session.artifact());
  const auto per_input = static_cast<std::size_t>(session.manifest().text_inputs);
  std::vector<Input> inputs;
  for (std::size_t row = 0; row < golden.rows(); ++row) {
    const auto begin = golden.texts.begin() + static_cast<std::ptrdiff_t>(row * per_input);
    inputs.push_back({{begin, begin + static_cast<std::ptrdiff_t>(per_input)}});
  }
  return inputs;
}

std::vector<Input> file_texts(const std::string& file, bool pairs) {
  std::ifstream stream(file);
  if (!stream) throw tools::UsageError("cannot read " + file);
  std::vector<Input> inputs;
  for (std::string line; std::getline(stream, line);) {
    const std::size_t tab = line.find('\t');
    if (pairs && tab != std::string::npos) {
      inputs.push_back({{line.substr(0, tab), line.substr(tab + 1)}});
    } else {
      inputs.push_back({{line}});
    }
  }
  if (inputs.empty()) throw tools::UsageError(file + " holds no text");
  return inputs;
}

Json report(const Session& session, const Steps& steps, double load_ms, std::size_t texts) {
  Json json{{"version", sharcs_version()},
            {"onnxruntime", session.ort().version()},
            {"family", session.manifest().family},
            {"texts", texts},
            {"load_ms", load_ms},
            {"stages", Json::array()},
            {"shares", Json::array()}};
  const auto add = [&](const char* stage, const Json& width, const Samples& samples) {
    json["stages"].push_back(Json{{"stage", stage}, {"width", width}, {"ms", samples.summary()}});
  };
  add("tokenise", nullptr, steps.tokenise);
  add("tokenise_alone", nullptr, steps.tokenise_alone);
  add("trunk", nullptr, steps.trunk);
  for (std::size_t index = 0; index < steps.tails.size(); ++index) {
    const double width = session.manifest().widths[index];
    add("tail", width, steps.tails[index]);
    add("predict", width, steps.widths[index].predict);
    add("overhead", width, steps.widths[index].overhead);
    const auto answered = static_cast<double>(steps.answered[index]);
    json["shares"].push_back(
        {{"width", width}, {"share", answered / static_cast<double>(steps.routed.predict.values.size())}});
  }
  add("predict", "routed", steps.routed.predict);
  add("overhead", "routed", steps.routed.overhead);
  return json;
}

int run(int argc, char** argv) {
  tools::Arguments arguments;
  sharcs::SessionOptions options;
  std::string texts;
  std::string onnxruntime;
  int rounds = 20;
  bool skip_hashes = false;
  bool steps_alone = false;
  bool version = false;
  bool help = false;
  arguments.text("--texts", texts);
  arguments.text("--onnxruntime", onnxruntime);
  arguments.count("--rounds", rounds);
  arguments.count("--threads", options.threads);
  arguments.flag("--skip-hashes", skip_hashes);
  arguments.flag("--steps", steps_alone);
  arguments.flag("--version", version);
  arguments.flag("--help", help);
  const auto rest = arguments.parse(argc, argv);
  if (help || version) {
    std::cout << (help ? kHelp : (std::string(sharcs_version()) + "\n").c_str());
    return 0;
  }
  if (rest.size() != 1) throw tools::UsageError("give one artifact folder; see --help");
  if (steps_alone) return tools::serve_steps(rest[0], onnxruntime);
  options.verify_hashes = !skip_hashes;
  options.ort_api_base = tools::timed_onnxruntime(sharcs::find_onnxruntime(onnxruntime));
  const double start = sharcs::steady_seconds();
  Session session(rest[0], options);
  const double load_ms = milliseconds_since(start);
  const auto inputs = texts.empty() ? golden_texts(session) : file_texts(texts, session.manifest().text_inputs == 2);
  Steps warm_up = empty_steps(session.manifest().widths.size());
  Steps steps = warm_up;
  for (int round = 0; round < kWarmUp + rounds; ++round) {
    Steps& to = round < kWarmUp ? warm_up : steps;
    for (const Input& input : inputs) run_text(session, input, to);
    tokenise_texts(session, inputs, to);
  }
  std::cout << report(session, steps, load_ms, inputs.size()).dump(2) << '\n';
  return std::cout.flush() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  tools::disable_telemetry();
  try {
    return run(argc, argv);
  } catch (const sharcs::Error& error) {
    std::cerr << "sharcs-edge-bench: " << error.what() << '\n';
    return error.status() >= 300 && error.status() < 400 ? 2 : 1;
  } catch (const tools::UsageError& error) {
    std::cerr << "sharcs-edge-bench: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "sharcs-edge-bench: " << error.what() << '\n';
    return 1;
  }
}
