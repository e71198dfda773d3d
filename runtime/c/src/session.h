// An artifact loaded once, predictions for texts (SPEC.md, sections 5, 8 and 9).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "answers.h"
#include "artifact.h"
#include "budget.h"
#include "keeper.h"
#include "latency.h"
#include "ort.h"
#include "tails.h"
#include "tokenizer.h"

namespace sharcs {

struct SessionOptions {
  std::string onnxruntime;
  const void* ort_api_base = nullptr;
  Budget budget;
  int threads = 1;
  bool verify_hashes = true;
  bool calibrated = true;
};

// The answer for one input.
struct Prediction {
  Outcome outcome;
  std::size_t width = 0;  // index of the tail that answered
  Reason reason = Reason::router;
  std::vector<std::size_t> ran;
  std::optional<std::size_t> point;
  std::optional<bool> budget_met;
  double milliseconds = 0;
  std::int64_t tokens = 0;
  bool truncated = false;
};

struct TrunkOutput {
  Tensor hidden;         // (rows, tokens, hidden size)
  Tensor router_logits;  // (rows, widths)
};

// Safe to share between threads.
class Session : private LatencySource {
 public:
  Session(const std::string& artifact, const SessionOptions& options);

  const Manifest& manifest() const { return artifact_.manifest; }
  const OperatingPoints* points() const { return points_ ? &*points_ : nullptr; }
  const Artifact& artifact() const { return artifact_; }
  const Ort& ort() const { return *ort_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  ConditionReader& conditions() { return keeper_.conditions(); }

  // `budget`: nullptr for the session's.
  Prediction predict(const sharcs_text* texts, std::size_t count, const Budget* budget);
  // `texts`: of `inputs` inputs, one after the other.
  std::vector<Prediction> predict_batch(const sharcs_text* texts, std::size_t inputs, std::size_t batch_size,
                                        const Budget* budget);

  // The steps, for tools and tests.
  TokenBatch batch(const std::vector<const EncodedText*>& rows) const;
  TrunkOutput run_trunk(const TokenBatch& tokens) const;
  Tensor run_tail(std::size_t index, const Tensor& hidden, const Tensor& mask, std::optional<double> memory_mb);

 private:
  class Input;

  std::optional<double> watts() override;
  Forecast forecast() override;
  const LatencyTable* saved();

  void hear(Input& input, const float* logits);
  void run_chunk(std::vector<Input>& inputs);
  void run_group(std::vector<Input>& inputs, const std::vector<std::size_t>& group, const TrunkOutput& trunk,
                 const TokenBatch& tokens);
  Prediction finish(Input& input, std::optional<double> computed);

  Artifact artifact_;
  Budget budget_;
  int threads_;
  std::optional<OperatingPoints> points_;
  std::optional<double> value_scale_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::shared_ptr<const Ort> ort_;
  std::unique_ptr<OrtGraph> trunk_;
  GraphMemory memory_;
  std::unique_ptr<Tails> tails_;
  bool table_read_ = false;
  std::optional<LatencyTable> table_;
  BudgetKeeper keeper_;
};

}  // namespace sharcs
