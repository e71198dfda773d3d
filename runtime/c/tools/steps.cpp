#include "steps.h"

#include <poll.h>
#include <unistd.h>

#include <ctime>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "condition_reader.h"
#include "machine_files.h"
#include "session.h"

namespace tools {
namespace {

using Json = nlohmann::ordered_json;
using sharcs::Session;
using sharcs::TokenBatch;
using Texts = std::vector<std::string>;  // of one input: a text, or a pair

// The end of the standard input: what is being measured is for nobody.
struct HostGone {};

double milliseconds_since(double start) { return (sharcs::steady_seconds() - start) * 1000; }

// A host is silent while it waits: what its line has to say then is its end.
void require_host() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (poll(&input, 1, 0) > 0) throw HostGone{};
}

std::vector<sharcs_text> views_of(const Texts& texts) {
  std::vector<sharcs_text> views;
  for (const std::string& text : texts) views.push_back({text.data(), text.size()});
  return views;
}

// Any bytes as text: each byte is the character of its number.
std::string latin1(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    const auto value = static_cast<unsigned char>(byte);
    if (value < 0x80) {
      text += byte;
    } else {
      text += static_cast<char>(0xC0 | (value >> 6));
      text += static_cast<char>(0x80 | (value & 0x3F));
    }
  }
  return text;
}

TokenBatch tokens_of(const Json& rows) {
  TokenBatch tokens;
  const auto append = [&](const char* name, sharcs::Ids& to) {
    for (const Json& row : rows.value(name, Json::array())) {
      const auto ids = row.get<std::vector<std::int64_t>>();
      to.insert(to.end(), ids.begin(), ids.end());
    }
  };
  tokens.rows = static_cast<std::int64_t>(rows.at("input_ids").size());
  tokens.tokens = static_cast<std::int64_t>(rows.at("input_ids").at(0).size());
  append("input_ids", tokens.input_ids);
  append("attention_mask", tokens.attention_mask);
  append("token_type_ids", tokens.token_type_ids);
  return tokens;
}

sharcs_limits limits_of(const Json& json) {
  sharcs_limits limits{};
  const std::pair<const char*, double sharcs_limits::*> fields[] = {{"width", &sharcs_limits::width},
                                                                    {"min_width", &sharcs_limits::min_width},
                                                                    {"max_width", &sharcs_limits::max_width},
                                                                    {"mean_ms", &sharcs_limits::mean_ms},
                                                                    {"deadline_ms", &sharcs_limits::deadline_ms},
                                                                    {"memory_mb", &sharcs_limits::memory_mb},
                                                                    {"energy_mj", &sharcs_limits::energy_mj},
                                                                    {"max_drop", &sharcs_limits::max_drop}};
  for (const auto& [name, field] : fields) limits.*field = json.value(name, 0.0);
  limits.has_max_drop = json.contains("max_drop") ? 1 : 0;
  return limits;
}

sharcs_rule rule_of(const Json& json) {
  sharcs_rule rule{};
  rule.limits = limits_of(json);
  const auto number = [&](const char* name, std::uint32_t bit, double& to) {
    if (json.contains(name)) rule.conditions |= bit, to = json.at(name).get<double>();
  };
  const auto flag = [&](const char* name, std::uint32_t bit, std::int32_t& to) {
    if (json.contains(name)) rule.conditions |= bit, to = json.at(name).get<bool>() ? 1 : 0;
  };
  number("battery_below", SHARCS_HAS_BATTERY_BELOW, rule.battery_below);
  number("battery_above", SHARCS_HAS_BATTERY_ABOVE, rule.battery_above);
  number("temperature_below", SHARCS_HAS_TEMPERATURE_BELOW, rule.temperature_below);
  number("temperature_above", SHARCS_HAS_TEMPERATURE_ABOVE, rule.temperature_above);
  flag("throttled", SHARCS_HAS_THROTTLED, rule.throttled);
  flag("background", SHARCS_HAS_BACKGROUND, rule.background);
  return rule;
}

sharcs::Budget budget_of(const Json& json) {
  sharcs_budget_options options = SHARCS_BUDGET_OPTIONS_INIT;
  options.limits = limits_of(json);
  options.watts = json.value("watts", 0.0);
  std::vector<sharcs_rule> rules;
  for (const Json& rule : json.value("when", Json::array())) rules.push_back(rule_of(rule));
  options.rules = rules.data();
  options.num_rules = rules.size();
  return sharcs::Budget::make(options);
}

// `run_round` gets the number of the round, from 0, and whether it counts: not the first `warm_up`; then at least
// `min_samples` and `min_seconds` of them.
template <typename Round>
void run_rounds(const Json& request, Round run_round) {
  const auto warm_up = request.at("warm_up").get<std::size_t>();
  const auto samples = request.at("min_samples").get<std::size_t>();
  std::size_t number = 0;
  for (; number < warm_up; ++number) run_round(number, false);
  const double end = sharcs::steady_seconds() + request.at("min_seconds").get<double>();
  for (; number - warm_up < samples || sharcs::steady_seconds() < end; ++number) {
    require_host();
    run_round(number, true);
  }
}

// What a prediction answered: a label's index, the indices of labels, or a value.
Json answer_of(const Session& session, const sharcs::Prediction& prediction) {
  const sharcs::Task task = session.manifest().task;
  if (task == sharcs::Task::classification) return prediction.outcome.label;
  if (task == sharcs::Task::multi_label) return prediction.outcome.labels;
  return prediction.outcome.value;
}

class Steps {
 public:
  Steps(std::string artifact, std::string onnxruntime)
      : artifact_(std::move(artifact)), onnxruntime_(std::move(onnxruntime)) {}

  Json carry_out(const Json& request) {
    static const std::map<std::string, Json (Steps::*)(const Json&)> steps{
        {"read", &Steps::read},       {"evict", &Steps::evict},   {"import", &Steps::import},
        {"load", &Steps::load},       {"run", &Steps::run},       {"encode", &Steps::encode},
        {"predict", &Steps::predict}, {"stages", &Steps::stages}, {"mix", &Steps::mix}};
    return (this->*steps.at(request.at("do").get<std::string>()))(request);
  }

 private:
  // Files of the machine, and the seconds that this process has lived and computed so far.
  Json read(const Json& request) {
    Json files = Json::object();
    for (const auto& [path, content] : read_files(request.at("patterns").get<std::vector<std::string>>())) {
      files[path] = latin1(content);
    }
    timespec cpu{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    return {{"files", files},
            {"wall_seconds", sharcs::steady_seconds()},
            {"cpu_seconds", static_cast<double>(cpu.tv_sec) + static_cast<double>(cpu.tv_nsec) / 1e9}};
  }

  // The artifact's files out of the system's file cache.
  Json evict(const Json&) { return {{"gone", evict_files(artifact_)}}; }

  // ONNX Runtime's library alone.
  Json import(const Json&) {
    const double start = sharcs::steady_seconds();
    base_ = sharcs::find_onnxruntime(onnxruntime_);
    return {{"ms", milliseconds_since(start)}};
  }

  Json load(const Json& request) {
    sharcs::SessionOptions options;
    options.ort_api_base = base_;
    options.onnxruntime = onnxruntime_;
    options.threads = request.at("threads").get<int>();
    options.budget = budget_of(request.at("budget"));
    memory_mb_ = options.budget.limits[sharcs::Limits::memory_mb];
    const double start = sharcs::steady_seconds();
    session_.emplace(artifact_, options);
    return {{"ms", milliseconds_since(start)},
            {"version", sharcs_version()},
            {"onnxruntime", session_->ort().version()},
            {"c_library", c_library()}};
  }

  // Router logits (rows, widths) and logits (widths, rows, labels) of rows of tokens.
  Json run(const Json& request) {
    const TokenBatch tokens = tokens_of(request);
    const auto rows = static_cast<std::size_t>(tokens.rows);
    const sharcs::TrunkOutput trunk = session_->run_trunk(tokens);
    const sharcs::Tensor mask = mask_of(tokens);
    const auto plain = [&](const sharcs::Tensor& tensor, std::size_t columns) {
      Json json = Json::array();
      for (std::size_t row = 0; row < rows; ++row) {
        const float* values = tensor.floats(rows * columns) + row * columns;
        json.push_back(std::vector<float>(values, values + columns));
      }
      return json;
    };
    Json answer{{"router_logits", plain(trunk.router_logits, widths())}, {"logits", Json::array()}};
    for (std::size_t index = 0; index < widths(); ++index) {
      const sharcs::Tensor logits = session_->run_tail(index, trunk.hidden, mask, memory_mb_);
      answer["logits"].push_back(plain(logits, session_->manifest().labels.size()));
    }
    return answer;
  }

  Json encode(const Json& request) {
    const auto texts = request.at("texts").get<Texts>();
    const auto views = views_of(texts);
    return {{"input_ids", session_->tokenizer().encode(views.data(), views.size(), "the text").ids}};
  }

  Json predict(const Json& request) {
    const auto texts = request.at("texts").get<Texts>();
    const auto views = views_of(texts);
    const sharcs::Budget budget = width_budget(request.at("width").get<std::size_t>());
    return {{"ms", session_->predict(views.data(), views.size(), &budget).milliseconds}};
  }

  // Milliseconds of each round: the tokens of a text, the trunk and every tail on tokens of one length.
  Json stages(const Json& request) {
    struct Input {
      Texts texts;
      TokenBatch tokens;
    };
    std::vector<Input> inputs;
    for (const Json& input : request.at("inputs")) {
      inputs.push_back({input.at("texts").get<Texts>(), tokens_of(input)});
    }
    std::vector<double> tokenise;
    std::vector<double> trunk;
    std::vector<std::vector<double>> tails(widths());
    run_rounds(request, [&](std::size_t number, bool counts) {
      const Input& input = inputs[number % inputs.size()];
      const auto views = views_of(input.texts);
      double start = sharcs::steady_seconds();
      session_->tokenizer().encode(views.data(), views.size(), "the text");
      const double tokens_ms = milliseconds_since(start);
      start = sharcs::steady_seconds();
      const sharcs::TrunkOutput output = session_->run_trunk(input.tokens);
      const double trunk_ms = milliseconds_since(start);
      if (counts) tokenise.push_back(tokens_ms), trunk.push_back(trunk_ms);
      for (std::size_t turn = 0; turn < widths(); ++turn) {  // another width first each time: A B C, B C A, ...
        const std::size_t index = (number + turn) % widths();
        start = sharcs::steady_seconds();
        session_->run_tail(index, output.hidden, mask_of(input.tokens), memory_mb_);
        if (counts) tails[index].push_back(milliseconds_since(start));
      }
    });
    return {{"tokenise", tokenise}, {"trunk", trunk}, {"tails", tails}};
  }

  // Each text as the router and the budget choose, and at full width; in turn, and taking turns at being first.
  Json mix(const Json& request) {
    const auto texts = request.at("texts").get<std::vector<Texts>>();
    const auto warm_up = request.at("warm_up").get<std::size_t>();
    const std::vector<float> bias(widths());
    const sharcs::Budget full = width_budget(widths() - 1);
    std::vector<std::vector<float>> router_logits;
    for (const Texts& text : texts) router_logits.push_back(router_logits_of(text));
    std::vector<sharcs::Prediction> routed(texts.size());
    std::vector<sharcs::Prediction> widest(texts.size());
    Json rounds = Json::array();
    run_rounds(request, [&](std::size_t number, bool counts) {
      const std::size_t place = (number + texts.size() * warm_up - warm_up) % texts.size();
      const auto views = views_of(texts[place]);
      const bool routed_first = (number / texts.size() + place) % 2 == 0;
      for (const bool as_routed : {routed_first, !routed_first}) {
        auto& answers = as_routed ? routed : widest;
        answers[place] = session_->predict(views.data(), views.size(), as_routed ? nullptr : &full);
      }
      const double start = sharcs::steady_seconds();
      sharcs::choose_route(router_logits[place].data(), bias, 0, widths() - 1, sharcs::Reason::max_width);
      const double decision = milliseconds_since(start);
      const sharcs::Prediction& answer = routed[place];
      const int point = answer.point ? static_cast<int>(*answer.point) : -1;
      if (counts) {
        rounds.push_back(
            {answer.milliseconds, widest[place].milliseconds, decision, answer.width, answer.ran.size(), point});
      }
    });
    Json answers{{"rounds", std::move(rounds)}, {"routed", Json::array()}, {"full", Json::array()}};
    for (std::size_t place = 0; place < texts.size(); ++place) {
      answers["routed"].push_back(answer_of(*session_, routed[place]));
      answers["full"].push_back(answer_of(*session_, widest[place]));
    }
    return answers;
  }

  std::size_t widths() const { return session_->manifest().widths.size(); }

  sharcs::Budget width_budget(std::size_t index) const {
    sharcs::Budget budget;
    budget.limits.values[sharcs::Limits::width] = session_->manifest().widths[index];
    return budget;
  }

  sharcs::Tensor mask_of(const TokenBatch& tokens) const {
    return sharcs::Tensor::of(session_->ort(), tokens.attention_mask, {tokens.rows, tokens.tokens});
  }

  std::vector<float> router_logits_of(const Texts& texts) const {
    const auto views = views_of(texts);
    const sharcs::EncodedText encoded = session_->tokenizer().encode(views.data(), views.size(), "the text");
    const sharcs::TrunkOutput trunk = session_->run_trunk(session_->batch({&encoded}));
    const float* values = trunk.router_logits.floats(widths());
    return {values, values + widths()};
  }

  const std::string artifact_;
  const std::string onnxruntime_;
  const sharcs::ort::ApiBase* base_ = nullptr;
  std::optional<Session> session_;
  std::optional<double> memory_mb_;
};

}  // namespace

int serve_steps(const std::string& artifact, const std::string& onnxruntime) {
  Steps steps(artifact, onnxruntime);
  try {
    for (std::string line; std::getline(std::cin, line) && !line.empty();) {
      Json answer;
      try {
        answer = steps.carry_out(Json::parse(line));
      } catch (const sharcs::Error& error) {
        answer = {{"failed", error.what()}, {"code", error.status() >= 300 && error.status() < 400 ? 2 : 1}};
      } catch (const std::exception& error) {
        answer = {{"failed", error.what()}, {"code", 1}};
      }
      std::cout << answer.dump() << std::endl;
    }
  } catch (const HostGone&) {
    return 1;
  }
  return std::cout ? 0 : 1;
}

}  // namespace tools
