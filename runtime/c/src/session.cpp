#include "session.h"

#include <algorithm>
#include <utility>

namespace sharcs {

// One input on its way through the graphs.
class Session::Input : private Startable {
 public:
  Input(Session& session, EncodedText text, std::shared_ptr<const Allowance> allowed, double spent)
      : encoded(std::move(text)), allowance(std::move(allowed)), seconds(spent), tokenizing(spent), session_(&session) {}

  void start(const float* router_logits) {
    const Startable* deadline = allowance->deadline_ms ? this : nullptr;
    escalation.emplace(router_logits, *allowance, deadline);
  }
  std::int64_t tokens() const { return static_cast<std::int64_t>(encoded.ids.size()); }

  EncodedText encoded;
  std::shared_ptr<const Allowance> allowance;
  std::optional<Escalation> escalation;
  std::optional<Outcome> outcome;  // what the last tail said
  bool answered = false;
  double seconds;      // spent on it so far, of them
  double tokenizing;   // on its tokens
  double loading = 0;  // and on tails that were not in memory

 private:
  bool startable(std::size_t index) const override {
    return session_->keeper_.startable(*allowance, index, tokens(), seconds * 1000.0, session_->tails_->load_ms(index));
  }

  Session* session_;
};

Session::Session(const std::string& artifact, const SessionOptions& options)
    : artifact_(Artifact::open(artifact, options.verify_hashes)),
      budget_(options.budget),
      threads_(options.threads),
      points_(options.calibrated ? OperatingPoints::load(artifact_) : std::nullopt),
      value_scale_(points_ ? points_->value_scale : std::nullopt),
      memory_(GraphMemory::of(artifact_.manifest)),
      keeper_(memory_, points_ ? &*points_ : nullptr, *this) {
  const Manifest& manifest = artifact_.manifest;
  if (manifest.backend != Backend::onnx) {
    throw_artifact(artifact_.path +
                   " holds TFLite graphs, and this library runs ONNX ones: export it with the backend onnx");
  }
  const std::string file = artifact_.file(manifest.tokenizer.file.file);
  const auto data = read_file(file);
  if (!data) throw_artifact(file + " is not there: copy the artifact again or export it again");
  tokenizer_ = std::make_unique<Tokenizer>(*data, file, manifest.tokenizer, manifest.text_inputs);
  ort_ = std::make_shared<const Ort>(options.onnxruntime, options.ort_api_base);
  const double start = steady_seconds();
  trunk_ = std::make_unique<OrtGraph>(ort_, manifest.trunk(), artifact_.file(manifest.trunk().file.file), threads_);
  const double milliseconds = (steady_seconds() - start) * 1000.0;
  tails_ = std::make_unique<Tails>(artifact_, ort_, memory_, threads_, milliseconds / memory_.trunk);
  if (!budget_.sets(Limits::memory_mb)) tails_->load_all();
  keeper_.check(budget_);
}

Prediction Session::predict(const sharcs_text* texts, std::size_t count, const Budget* budget) {
  const double start = steady_seconds();
  EncodedText encoded = tokenizer_->encode(texts, count, "the text");
  auto allowance = keeper_.start(budget == nullptr ? budget_ : *budget);
  const TokenBatch tokens = batch({&encoded});
  Input input(*this, std::move(encoded), std::move(allowance), steady_seconds() - start);
  const TrunkOutput trunk = run_trunk(tokens);
  input.seconds = steady_seconds() - start;
  input.start(trunk.router_logits.floats(artifact_.manifest.widths.size()));
  const Tensor mask = Tensor::of(*ort_, tokens.attention_mask, {1, tokens.tokens});
  while (!input.answered) {
    const double before = steady_seconds();
    const auto tail = tails_->get(input.escalation->index(), input.allowance->memory_mb);
    input.loading += steady_seconds() - before;
    const OrtGraph::Outputs logits = tail->run({&trunk.hidden, &mask});
    input.seconds = steady_seconds() - start;
    hear(input, logits[0].floats(artifact_.manifest.labels.size()));
  }
  input.seconds = steady_seconds() - start;
  return finish(input, input.seconds - input.tokenizing - input.loading);
}

std::vector<Prediction> Session::predict_batch(const sharcs_text* texts, std::size_t inputs, std::size_t batch_size,
                                               const Budget* given) {
  const Budget& budget = given == nullptr ? budget_ : *given;
  keeper_.check(budget);
  const auto per_input = static_cast<std::size_t>(artifact_.manifest.text_inputs);
  std::vector<EncodedText> encoded;
  std::vector<double> seconds;
  for (std::size_t index = 0; index < inputs; ++index) {
    const double start = steady_seconds();
    encoded.push_back(
        tokenizer_->encode(texts + index * per_input, per_input, "text " + std::to_string(index) + " of the batch"));
    seconds.push_back(steady_seconds() - start);
  }
  std::vector<std::size_t> order(inputs);
  for (std::size_t index = 0; index < inputs; ++index) order[index] = index;
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return encoded[a].ids.size() < encoded[b].ids.size(); });
  std::vector<Prediction> results(inputs);
  for (std::size_t first = 0; first < inputs; first += batch_size) {
    const std::size_t last = std::min(first + batch_size, inputs);
    std::vector<Input> chunk;
    chunk.reserve(last - first);
    for (std::size_t place = first; place < last; ++place) {
      const std::size_t index = order[place];
      chunk.emplace_back(*this, std::move(encoded[index]), keeper_.start(budget), seconds[index]);
    }
    run_chunk(chunk);
    for (std::size_t place = first; place < last; ++place) {
      results[order[place]] = finish(chunk[place - first], std::nullopt);
    }
  }
  return results;
}

TokenBatch Session::batch(const std::vector<const EncodedText*>& rows) const {
  const TokenizerSpec& spec = artifact_.manifest.tokenizer;
  std::size_t longest = 0;
  for (const EncodedText* row : rows) longest = std::max(longest, row->ids.size());
  TokenBatch tokens;
  tokens.rows = static_cast<std::int64_t>(rows.size());
  tokens.tokens = static_cast<std::int64_t>(longest);
  tokens.input_ids.reserve(rows.size() * longest);
  tokens.attention_mask.reserve(rows.size() * longest);
  const auto add = [&](std::vector<std::int64_t>& to, const Ids& values, std::int64_t padding) {
    to.insert(to.end(), values.begin(), values.end());
    to.insert(to.end(), longest - values.size(), padding);
  };
  for (const EncodedText* row : rows) {
    add(tokens.input_ids, row->ids, spec.pad_id);
    tokens.attention_mask.insert(tokens.attention_mask.end(), row->ids.size(), 1);
    tokens.attention_mask.insert(tokens.attention_mask.end(), longest - row->ids.size(), 0);
    if (spec.token_types) add(tokens.token_type_ids, row->types, 0);
  }
  return tokens;
}

TrunkOutput Session::run_trunk(const TokenBatch& tokens) const {
  const Tensor ids = Tensor::of(*ort_, tokens.input_ids, {tokens.rows, tokens.tokens});
  const Tensor mask = Tensor::of(*ort_, tokens.attention_mask, {tokens.rows, tokens.tokens});
  Tensor types;
  if (artifact_.manifest.tokenizer.token_types) {
    types = Tensor::of(*ort_, tokens.token_type_ids, {tokens.rows, tokens.tokens});
  }
  OrtGraph::Outputs outputs = trunk_->run({&ids, &mask, &types});
  return {std::move(outputs[0]), std::move(outputs[1])};
}

Tensor Session::run_tail(std::size_t index, const Tensor& hidden, const Tensor& mask, std::optional<double> memory_mb) {
  OrtGraph::Outputs outputs = tails_->get(index, memory_mb)->run({&hidden, &mask});
  return std::move(outputs[0]);
}

// One trunk run, then one run per tail that any of the inputs takes, the narrowest first.
void Session::run_chunk(std::vector<Input>& inputs) {
  const double start = steady_seconds();
  std::vector<const EncodedText*> rows;
  for (const Input& input : inputs) rows.push_back(&input.encoded);
  const TokenBatch tokens = batch(rows);
  const TrunkOutput trunk = run_trunk(tokens);
  const double share = (steady_seconds() - start) / static_cast<double>(inputs.size());
  const std::size_t widths = artifact_.manifest.widths.size();
  const float* router_logits = trunk.router_logits.floats(inputs.size() * widths);
  for (std::size_t row = 0; row < inputs.size(); ++row) {
    inputs[row].seconds += share;
    inputs[row].start(router_logits + row * widths);
  }
  for (std::size_t index = 0; index < widths; ++index) {
    std::vector<std::size_t> group;
    for (std::size_t row = 0; row < inputs.size(); ++row) {
      if (!inputs[row].answered && inputs[row].escalation->index() == index) group.push_back(row);
    }
    if (!group.empty()) run_group(inputs, group, trunk, tokens);
  }
}

// The rows of `group`, cut to the longest of them, through the tail that they wait for.
void Session::run_group(std::vector<Input>& inputs, const std::vector<std::size_t>& group, const TrunkOutput& trunk,
                        const TokenBatch& tokens) {
  const double start = steady_seconds();
  std::size_t longest = 0;
  for (std::size_t row : group) longest = std::max(longest, inputs[row].encoded.ids.size());
  const auto size = static_cast<std::size_t>(artifact_.manifest.hidden_size());
  const auto width = static_cast<std::size_t>(tokens.tokens);
  const float* hidden = trunk.hidden.floats(inputs.size() * width * size);
  std::vector<float> rows;
  std::vector<std::int64_t> mask;
  rows.reserve(group.size() * longest * size);
  for (std::size_t row : group) {
    const float* first = hidden + row * width * size;
    rows.insert(rows.end(), first, first + longest * size);
    const auto begin = tokens.attention_mask.begin() + static_cast<std::ptrdiff_t>(row * width);
    mask.insert(mask.end(), begin, begin + static_cast<std::ptrdiff_t>(longest));
  }
  const auto count = static_cast<std::int64_t>(group.size());
  const auto length = static_cast<std::int64_t>(longest);
  const Tensor cut = Tensor::of(*ort_, rows, {count, length, artifact_.manifest.hidden_size()});
  const Tensor cut_mask = Tensor::of(*ort_, mask, {count, length});
  const Input& one = inputs[group[0]];
  const Tensor logits = run_tail(one.escalation->index(), cut, cut_mask, one.allowance->memory_mb);
  const double share = (steady_seconds() - start) / static_cast<double>(group.size());
  const float* values = logits.floats(group.size() * artifact_.manifest.labels.size());
  for (std::size_t row : group) {
    inputs[row].seconds += share;
    hear(inputs[row], values);
    values += artifact_.manifest.labels.size();
  }
}

// A tail ran, with these logits: that is the answer, or the next wider tail is to run.
void Session::hear(Input& input, const float* logits) {
  const Manifest& manifest = artifact_.manifest;
  if (!all_finite(logits, manifest.labels.size())) {
    throw_artifact(manifest.tail(input.escalation->index()).name +
                   " gave logits that are not finite: the artifact is damaged or does not run on this machine; run "
                   "`sharcs-edge verify` on it");
  }
  const Outcome* before = input.outcome ? &*input.outcome : nullptr;
  input.outcome = read_outcome(manifest.task, logits, manifest.labels.size(), before, value_scale_);
  input.answered = !input.escalation->goes_on(input.outcome->confidence);
}

// `computed`: seconds of the graphs that ran for this input alone, nothing in a batch.
Prediction Session::finish(Input& input, std::optional<double> computed) {
  const Allowance& allowance = *input.allowance;
  const Escalation& way = *input.escalation;
  Prediction prediction;
  prediction.milliseconds = input.seconds * 1000.0;
  prediction.tokens = input.tokens();
  prediction.budget_met =
      keeper_.finish(allowance, prediction.milliseconds, prediction.tokens, way.ran(),
                     computed ? std::optional(*computed * 1000.0) : std::nullopt, allowance.promised && way.cut_short());
  prediction.outcome = std::move(*input.outcome);
  prediction.width = way.index();
  prediction.reason = way.reason();
  prediction.ran = way.ran();
  if (!allowance.explicit_width) prediction.point = allowance.point;
  prediction.truncated = input.encoded.truncated;
  return prediction;
}

}  // namespace sharcs
