#include "verify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "golden.h"
#include "text.h"

namespace sharcs {
namespace {

struct Outputs {
  std::vector<std::vector<float>> logits;  // of each width: (rows, labels)
  std::vector<std::int64_t> routes;        // -1 where scores are not finite: it agrees with none
};

// 3.1e-02, whatever decimal point the host's locale has.
std::string scientific(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1e", value);
  if (std::isfinite(value)) text[1] = '.';
  return text;
}

// 1e-03, 5e-02, 2.5e-03.
std::string power(double value) {
  std::string text = scientific(value);
  if (text[2] == '0') text.erase(1, 2);
  return text;
}

void run_batch(Session& session, const TokenBatch& tokens, Outputs& outputs) {
  const std::size_t widths = session.manifest().widths.size();
  const std::size_t labels = session.manifest().labels.size();
  const auto rows = static_cast<std::size_t>(tokens.rows);
  const TrunkOutput trunk = session.run_trunk(tokens);
  const Tensor mask = Tensor::of(session.ort(), tokens.attention_mask, {tokens.rows, tokens.tokens});
  outputs.logits.resize(widths);
  for (std::size_t index = 0; index < widths; ++index) {
    const Tensor logits = session.run_tail(index, trunk.hidden, mask, std::nullopt);
    const float* values = logits.floats(rows * labels);
    outputs.logits[index].insert(outputs.logits[index].end(), values, values + rows * labels);
  }
  const std::vector<float> bias(widths, 0.0F);
  const float* scores = trunk.router_logits.floats(rows * widths);
  for (std::size_t row = 0; row < rows; ++row, scores += widths) {
    const bool finite = all_finite(scores, widths);
    outputs.routes.push_back(
        finite ? static_cast<std::int64_t>(choose_route(scores, bias, 0, widths - 1, Reason::max_width).index) : -1);
  }
}

bool same_answer(const Manifest& manifest, const float* ours, const float* torch) {
  const std::size_t labels = manifest.labels.size();
  if (manifest.task == Task::regression) {
    return std::abs(static_cast<double>(ours[0]) - static_cast<double>(torch[0])) <= manifest.tolerance.logits;
  }
  const auto best = [&](const float* logits) { return std::max_element(logits, logits + labels) - logits; };
  if (manifest.task == Task::classification) return best(ours) == best(torch);
  for (std::size_t i = 0; i < labels; ++i) {
    if ((ours[i] >= 0) != (torch[i] >= 0)) return false;
  }
  return true;
}

void check_width(const Session& session, std::size_t index, const std::vector<float>& ours, const float* torch,
                 const std::string& where, std::vector<std::string>& failures) {
  const Manifest& manifest = session.manifest();
  const std::size_t labels = manifest.labels.size();
  const std::size_t rows = ours.size() / labels;
  double worst = 0;
  std::size_t worst_row = 0;
  std::size_t same = 0;
  std::size_t within = 0;
  std::size_t first_other = rows;
  for (std::size_t row = 0; row < rows; ++row) {
    const bool equal = same_answer(manifest, &ours[row * labels], torch + row * labels);
    same += equal;
    if (!equal && first_other == rows) first_other = row;
    bool close = true;
    for (std::size_t i = row * labels; i < (row + 1) * labels; ++i) {
      const double difference = std::abs(static_cast<double>(ours[i]) - static_cast<double>(torch[i]));
      if (!(difference <= manifest.tolerance.logits)) close = false;
      // A number that is none is worse than any.
      if (difference > worst || (std::isnan(difference) && !std::isnan(worst))) worst = difference, worst_row = row;
    }
    within += close;
  }
  const std::string name = manifest.tail(index).name;
  const double agreement = static_cast<double>(same) / static_cast<double>(rows);
  const double close_rows = static_cast<double>(within) / static_cast<double>(rows);
  if (close_rows < manifest.tolerance.label_agreement || !std::isfinite(worst)) {
    failures.push_back(name + ": max abs logit difference " + scientific(worst) + " > " + power(manifest.tolerance.logits) +
                       " (golden row " + std::to_string(worst_row) + where + "), rows within it " +
                       format_general(close_rows) + " < " + format_general(manifest.tolerance.label_agreement));
  }
  if (agreement < manifest.tolerance.label_agreement) {
    failures.push_back(name + ": label agreement " + format_general(agreement) + " < " +
                       format_general(manifest.tolerance.label_agreement) + " (golden row " + std::to_string(first_other) +
                       where + ")");
  }
}

void check_routes(const Session& session, const std::vector<std::int64_t>& ours, const std::vector<std::int64_t>& reference,
                  const std::string& name, const std::string& where, std::vector<std::string>& failures) {
  std::size_t same = 0;
  std::size_t first_other = ours.size();
  for (std::size_t row = 0; row < ours.size(); ++row) {
    if (ours[row] == reference[row]) {
      ++same;
    } else if (first_other == ours.size()) {
      first_other = row;
    }
  }
  const double agreement = static_cast<double>(same) / static_cast<double>(ours.size());
  const double limit = session.manifest().tolerance.route_agreement;
  if (agreement < limit) {
    failures.push_back("trunk: route agreement with " + name + " " + format_general(agreement) + " < " +
                       format_general(limit) + " (golden row " + std::to_string(first_other) + where + ")");
  }
}

void check_tokens(const Session& session, const Golden& golden, std::vector<std::string>& failures) {
  const auto per_input = static_cast<std::size_t>(session.manifest().text_inputs);
  std::size_t different = 0;
  std::size_t first = 0;
  for (std::size_t row = 0; row < golden.rows(); ++row) {
    std::vector<sharcs_text> texts;
    for (std::size_t part = 0; part < per_input; ++part) {
      const std::string& text = golden.texts[row * per_input + part];
      texts.push_back({text.data(), text.size()});
    }
    const EncodedText encoded = session.tokenizer().encode(texts.data(), per_input, "golden row " + std::to_string(row));
    if (encoded.ids != golden.row(row).input_ids && different++ == 0) first = row;
  }
  if (different > 0) {
    failures.push_back("tokenizer: " + std::to_string(different) + " of " + std::to_string(golden.rows()) +
                       " texts give other tokens than at export (golden row " + std::to_string(first) + ")");
  }
}

}  // namespace

std::vector<std::string> verify(Session& session) {
  const Golden golden = Golden::load(session.artifact());
  Outputs padded;
  Outputs alone;
  run_batch(session, golden.tokens, padded);
  for (std::size_t row = 0; row < golden.rows(); ++row) run_batch(session, golden.row(row), alone);
  const std::size_t size = golden.rows() * session.manifest().labels.size();
  std::vector<std::string> failures;
  for (const Outputs* outputs : {&padded, &alone}) {
    const std::string where = outputs == &alone ? " run alone" : "";
    for (std::size_t index = 0; index < outputs->logits.size(); ++index) {
      check_width(session, index, outputs->logits[index], golden.logits.data() + index * size, where, failures);
    }
  }
  check_routes(session, padded.routes, golden.routes, "torch", "", failures);
  check_routes(session, alone.routes, golden.routes, "torch", " run alone", failures);
  check_routes(session, alone.routes, padded.routes, "the padded batch", " run alone", failures);
  check_tokens(session, golden, failures);
  return failures;
}

}  // namespace sharcs
