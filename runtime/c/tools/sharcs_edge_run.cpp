// Text in, JSON out: one prediction per line, through the C interface.
#include <cmath>
#include <cstdio>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "arguments.h"
#include "sharcs_edge.h"

namespace {

constexpr const char* kHelp =
    "Usage: sharcs-edge-run ARTIFACT [TEXT]... [OPTION]...\n"
    "\n"
    "Answers each TEXT, or each line of the standard input if there is none; pairs are separated by a tab.\n"
    "Writes one JSON object per line.\n"
    "\n"
    "  --width W, --min-width W, --max-width W   widths that may run\n"
    "  --mean-ms MS, --deadline-ms MS            wall time: mean over inputs, of each input\n"
    "  --memory-mb MB, --max-drop SHARE          memory of the graphs, loss against the full width\n"
    "  --energy-mj MJ, --watts W                 mean energy per input, and what the device draws\n"
    "  --threads N                               that compute one prediction (default 1)\n"
    "  --onnxruntime FILE                        library of ONNX Runtime\n"
    "  --verify                                  compare the golden texts with torch's answers, instead\n"
    "  --skip-hashes                             check the sizes of the artifact's files alone\n"
    "  --uncalibrated                            route without operating points\n"
    "  --version, --help\n";

// A status of the library, with its message.
struct Failure {
  sharcs_status status;
  std::string message;
};

template <typename Call>
void call(Call function) {
  sharcs_error* error = nullptr;
  const sharcs_status status = function(&error);
  if (status == SHARCS_OK) return;
  const char* message = error == nullptr ? sharcs_status_message(status) : sharcs_error_message(error);
  Failure failure{status, message};
  sharcs_error_free(error);
  throw failure;
}

int exit_code(sharcs_status status) {
  if (status >= 300 && status < 400) return 2;
  return status >= 400 && status < 500 ? 3 : 1;
}

nlohmann::ordered_json to_json(const sharcs_prediction& answer) {
  nlohmann::ordered_json json;
  if (answer.label != nullptr) json["label"] = answer.label;
  if (!std::isnan(answer.score)) json["score"] = answer.score;
  if (answer.labels != nullptr || (answer.label == nullptr && std::isnan(answer.value))) {
    json["labels"] = std::vector<std::string>(answer.labels, answer.labels + answer.num_labels);
  }
  if (!std::isnan(answer.value)) json["value"] = answer.value;
  if (answer.num_scores > 0) json["scores"] = std::vector<double>(answer.scores, answer.scores + answer.num_scores);
  if (!std::isnan(answer.confidence)) json["confidence"] = answer.confidence;
  json["width"] = answer.width;
  json["reason"] = sharcs_reason_name(answer.reason);
  json["ran"] = std::vector<double>(answer.ran, answer.ran + answer.num_ran);
  if (answer.point >= 0) json["point"] = answer.point;
  if (answer.budget_met >= 0) json["budget_met"] = answer.budget_met == 1;
  json["milliseconds"] = answer.milliseconds;
  json["tokens"] = answer.tokens;
  json["truncated"] = answer.truncated != 0;
  return json;
}

void answer(sharcs_session* session, const std::string& line) {
  std::vector<sharcs_text> texts{{line.data(), line.size()}};
  const std::size_t tab = line.find('\t');
  if (sharcs_session_get_info(session)->text_inputs == 2 && tab != std::string::npos) {
    texts = {{line.data(), tab}, {line.data() + tab + 1, line.size() - tab - 1}};
  }
  sharcs_prediction* prediction = nullptr;
  call([&](sharcs_error** error) {
    return sharcs_session_predict(session, texts.data(), texts.size(), nullptr, &prediction, error);
  });
  const std::unique_ptr<sharcs_prediction, void (*)(sharcs_prediction*)> held(prediction, sharcs_prediction_free);
  std::cout << to_json(*held).dump() << '\n';
}

struct Settings {
  sharcs_budget_options budget = SHARCS_BUDGET_OPTIONS_INIT;
  sharcs_session_options session = SHARCS_SESSION_OPTIONS_INIT;
  std::string onnxruntime;
  double max_drop = NAN;
  int threads = 1;
  bool skip_hashes = false;
  bool uncalibrated = false;
  bool verify = false;
  bool version = false;
  bool help = false;
};

std::vector<std::string> read_arguments(int argc, char** argv, Settings& settings) {
  tools::Arguments arguments;
  sharcs_limits& limits = settings.budget.limits;
  arguments.number("--width", limits.width);
  arguments.number("--min-width", limits.min_width);
  arguments.number("--max-width", limits.max_width);
  arguments.number("--mean-ms", limits.mean_ms);
  arguments.number("--deadline-ms", limits.deadline_ms);
  arguments.number("--memory-mb", limits.memory_mb);
  arguments.number("--energy-mj", limits.energy_mj);
  arguments.number("--max-drop", settings.max_drop);
  arguments.number("--watts", settings.budget.watts);
  arguments.count("--threads", settings.threads);
  arguments.text("--onnxruntime", settings.onnxruntime);
  arguments.flag("--skip-hashes", settings.skip_hashes);
  arguments.flag("--uncalibrated", settings.uncalibrated);
  arguments.flag("--verify", settings.verify);
  arguments.flag("--version", settings.version);
  arguments.flag("--help", settings.help);
  auto rest = arguments.parse(argc, argv);
  limits.has_max_drop = std::isnan(settings.max_drop) ? 0 : 1;
  limits.max_drop = std::isnan(settings.max_drop) ? 0 : settings.max_drop;
  settings.session.threads = settings.threads;
  settings.session.skip_hashes = settings.skip_hashes ? 1 : 0;
  settings.session.uncalibrated = settings.uncalibrated ? 1 : 0;
  if (!settings.onnxruntime.empty()) settings.session.onnxruntime = settings.onnxruntime.c_str();
  return rest;
}

int run(int argc, char** argv) {
  Settings settings;
  const std::vector<std::string> rest = read_arguments(argc, argv, settings);
  if (settings.help || settings.version) {
    std::cout << (settings.help ? kHelp : (std::string(sharcs_version()) + "\n").c_str());
    return 0;
  }
  if (rest.empty()) throw tools::UsageError("the artifact's folder is missing; see --help");
  sharcs_budget* budget = nullptr;
  call([&](sharcs_error** error) { return sharcs_budget_create(&settings.budget, &budget, error); });
  const std::unique_ptr<sharcs_budget, void (*)(sharcs_budget*)> held_budget(budget, sharcs_budget_free);
  settings.session.budget = budget;
  sharcs_session* session = nullptr;
  call([&](sharcs_error** error) { return sharcs_session_create(rest[0].c_str(), &settings.session, &session, error); });
  const std::unique_ptr<sharcs_session, void (*)(sharcs_session*)> held(session, sharcs_session_free);
  if (settings.verify) {
    call([&](sharcs_error** error) { return sharcs_session_verify(session, error); });
    std::cout << "{\"passed\":true}\n";
    return std::cout.flush() ? 0 : 1;
  }
  for (std::size_t index = 1; index < rest.size(); ++index) answer(session, rest[index]);
  std::string line;
  while (rest.size() == 1 && std::getline(std::cin, line)) answer(session, line);
  return std::cout.flush() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  tools::disable_telemetry();
  std::ios::sync_with_stdio(false);
  try {
    return run(argc, argv);
  } catch (const Failure& failure) {
    std::cout.flush();
    std::cerr << "sharcs-edge-run: " << failure.message << '\n';
    return exit_code(failure.status);
  } catch (const tools::UsageError& error) {
    std::cerr << "sharcs-edge-run: " << error.what() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "sharcs-edge-run: " << error.what() << '\n';
    return 1;
  }
}
