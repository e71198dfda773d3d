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

namespace {

using Json = nlohmann::ordered_json;
using sharcs::Session;

constexpr const char* kHelp =
    "Usage: sharcs-edge-bench ARTIFACT [OPTION]...\n"
    "\n"
    "Times every step of predictions of the artifact's golden texts, or of a file's. Every round runs each step and the\n"
    "whole of each text once, so that drift meets all alike. Writes one JSON object.\n"
    "\n"
    "  --texts FILE         one text per line; pairs are separated by a tab\n"
    "  --rounds N           default 20, after 2 that do not count\n"
    "  --threads N          that compute one prediction (default 1)\n"
    "  --onnxruntime FILE   library of ONNX Runtime\n"
    "  --skip-hashes        check the sizes of the artifact's files alone\n"
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
    const auto at = [&](double share) { return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))]; };
    const double sum = std::accumulate(sorted.begin(), sorted.end(), 0.0);
    return Json{{"n", sorted.size()}, {"mean", sum / static_cast<double>(sorted.size())}, {"p50", at(0.5)}, {"p95", at(0.95)}};
  }
};

struct Steps {
  Samples tokenise;
  Samples trunk;
  std::vector<Samples> tails;
  std::vector<Samples> predict;   // at each width
  std::vector<Samples> overhead;  // of predict over the runs of its graphs and its tokens
};

double milliseconds_since(double start) { return (sharcs::steady_seconds() - start) * 1000; }

// One text: at each width the whole prediction, then its steps by themselves. A prediction that does not count comes
// first, so that both find the tail's weights in the caches.
void run_text(Session& session, const Input& input, Steps* steps) {
  const auto views = input.views();
  for (std::size_t index = 0; index < session.manifest().widths.size(); ++index) {
    sharcs::Budget budget;
    budget.limits.values[sharcs::Limits::width] = session.manifest().widths[index];
    session.predict(views.data(), views.size(), &budget);
    double start = sharcs::steady_seconds();
    session.predict(views.data(), views.size(), &budget);
    const double whole = milliseconds_since(start);
    start = sharcs::steady_seconds();
    const sharcs::EncodedText encoded = session.tokenizer().encode(views.data(), views.size(), "the text");
    const double tokenise = milliseconds_since(start);
    const sharcs::TokenBatch tokens = session.batch({&encoded});
    const sharcs::Tensor mask = sharcs::Tensor::of(session.ort(), tokens.attention_mask, {1, tokens.tokens});
    start = sharcs::steady_seconds();
    const sharcs::TrunkOutput trunk = session.run_trunk(tokens);
    const double trunk_ms = milliseconds_since(start);
    start = sharcs::steady_seconds();
    session.run_tail(index, trunk.hidden, mask, std::nullopt);
    const double tail = milliseconds_since(start);
    if (steps == nullptr) continue;
    steps->tokenise.values.push_back(tokenise);
    steps->trunk.values.push_back(trunk_ms);
    steps->tails[index].values.push_back(tail);
    steps->predict[index].values.push_back(whole);
    steps->overhead[index].values.push_back(whole - tokenise - trunk_ms - tail);
  }
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
            {"stages", Json::array()}};
  const auto add = [&](const char* stage, Json width, const Samples& samples) {
    json["stages"].push_back(Json{{"stage", stage}, {"width", std::move(width)}, {"ms", samples.summary()}});
  };
  add("tokenise", nullptr, steps.tokenise);
  add("trunk", nullptr, steps.trunk);
  for (std::size_t index = 0; index < steps.tails.size(); ++index) {
    const double width = session.manifest().widths[index];
    add("tail", width, steps.tails[index]);
    add("predict", width, steps.predict[index]);
    add("overhead", width, steps.overhead[index]);
  }
  return json;
}

int run(int argc, char** argv) {
  tools::Arguments arguments;
  sharcs::SessionOptions options;
  std::string texts;
  int rounds = 20;
  bool skip_hashes = false;
  bool version = false;
  bool help = false;
  arguments.text("--texts", texts);
  arguments.text("--onnxruntime", options.onnxruntime);
  arguments.count("--rounds", rounds);
  arguments.count("--threads", options.threads);
  arguments.flag("--skip-hashes", skip_hashes);
  arguments.flag("--version", version);
  arguments.flag("--help", help);
  const auto rest = arguments.parse(argc, argv);
  if (help || version) {
    std::cout << (help ? kHelp : (std::string(sharcs_version()) + "\n").c_str());
    return 0;
  }
  if (rest.size() != 1) throw tools::UsageError("give one artifact folder; see --help");
  options.verify_hashes = !skip_hashes;
  const double start = sharcs::steady_seconds();
  Session session(rest[0], options);
  const double load_ms = milliseconds_since(start);
  const auto inputs = texts.empty() ? golden_texts(session) : file_texts(texts, session.manifest().text_inputs == 2);
  Steps steps;
  for (auto* list : {&steps.tails, &steps.predict, &steps.overhead}) list->resize(session.manifest().widths.size());
  for (int round = 0; round < kWarmUp + rounds; ++round) {
    for (const Input& input : inputs) run_text(session, input, round < kWarmUp ? nullptr : &steps);
  }
  std::cout << report(session, steps, load_ms, inputs.size()).dump(2) << '\n';
  return std::cout.flush() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
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
