// The C interface of sessions, budgets and predictions.
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "api_common.h"
#include "session.h"
#include "text.h"
#include "verify.h"

struct sharcs_budget {
  sharcs::Budget budget;
};

struct sharcs_session {
  std::unique_ptr<sharcs::Session> session;
  std::vector<const char*> labels;
  sharcs_session_info info{};
};

namespace sharcs {
namespace {

// The struct that a caller sees, and what its pointers point to.
struct HeldPrediction : sharcs_prediction {
  std::vector<std::string> names;
  std::vector<const char*> held_labels;
  std::vector<double> held_scores;
  std::vector<double> held_ran;
};

std::unique_ptr<HeldPrediction> to_c(Prediction&& from, const Manifest& manifest) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  auto held = std::make_unique<HeldPrediction>();
  sharcs_prediction& to = *held;
  to = sharcs_prediction{};
  to.struct_size = sizeof(sharcs_prediction);
  to.score = to.value = kNone;
  to.label_index = -1;
  Outcome& outcome = from.outcome;
  if (manifest.task == Task::classification) {
    held->names.push_back(manifest.labels[outcome.label]);
    to.label = held->names[0].c_str();
    to.label_index = static_cast<std::int32_t>(outcome.label);
    to.score = outcome.scores[outcome.label];
  } else if (manifest.task == Task::multi_label) {
    for (std::size_t index : outcome.labels) held->names.push_back(manifest.labels[index]);
    for (const std::string& name : held->names) held->held_labels.push_back(name.c_str());
    to.labels = held->held_labels.data();
    to.num_labels = held->held_labels.size();
  } else {
    to.value = outcome.value;
  }
  held->held_scores = std::move(outcome.scores);
  held->held_ran.reserve(from.ran.size());
  for (std::size_t index : from.ran) held->held_ran.push_back(manifest.widths[index]);
  to.scores = held->held_scores.empty() ? nullptr : held->held_scores.data();
  to.num_scores = held->held_scores.size();
  to.confidence = outcome.has_confidence ? outcome.confidence : kNone;
  to.width = manifest.widths[from.width];
  to.reason = static_cast<std::int32_t>(from.reason);
  to.ran = held->held_ran.data();
  to.num_ran = held->held_ran.size();
  to.point = from.point ? static_cast<std::int32_t>(*from.point) : -1;
  to.budget_met = from.budget_met ? static_cast<std::int32_t>(*from.budget_met) : -1;
  to.milliseconds = from.milliseconds;
  to.tokens = from.tokens;
  to.truncated = from.truncated ? 1 : 0;
  return held;
}

SessionOptions read_options(const sharcs_session_options* given) {
  SessionOptions options;
  if (given == nullptr) return options;
  const auto all = copy_options(*given);
  if (all.onnxruntime != nullptr) options.onnxruntime = all.onnxruntime;
  options.ort_api_base = all.ort_api_base;
  if (all.budget != nullptr) options.budget = all.budget->budget;
  if (all.threads < 0) {
    throw_usage("threads is " + std::to_string(all.threads) + "; expected an integer of at least 1, or 0 for 1");
  }
  if (all.threads > 0) options.threads = all.threads;
  check_reserved(all.reserved);
  options.verify_hashes = all.skip_hashes == 0;
  options.calibrated = all.uncalibrated == 0;
  return options;
}

void describe(sharcs_session& handle) {
  const Session& session = *handle.session;
  const Manifest& manifest = session.manifest();
  for (const std::string& label : manifest.labels) handle.labels.push_back(label.c_str());
  sharcs_session_info& info = handle.info;
  info.struct_size = sizeof(sharcs_session_info);
  info.family = manifest.family.c_str();
  info.widths = manifest.widths.data();
  info.num_widths = manifest.widths.size();
  info.labels = handle.labels.data();
  info.num_labels = handle.labels.size();
  info.task = static_cast<std::int32_t>(manifest.task);
  info.text_inputs = static_cast<std::int32_t>(manifest.text_inputs);
  info.max_length = static_cast<std::int32_t>(manifest.tokenizer.max_length);
  info.num_points = session.points() == nullptr ? 0 : static_cast<std::int32_t>(session.points()->points.size());
  info.onnxruntime_version = session.ort().version().c_str();
}

template <typename T>
void require(const T* pointer, const char* name) {
  if (pointer == nullptr) throw_usage(std::string(name) + " is NULL");
}

}  // namespace
}  // namespace sharcs

using sharcs::guarded;

extern "C" {

sharcs_status sharcs_budget_create(const sharcs_budget_options* options, sharcs_budget** out, sharcs_error** error) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, [&] {
    sharcs::require(options, "options");
    sharcs::require(out, "out");
    *out = new sharcs_budget{sharcs::Budget::make(sharcs::copy_options(*options))};
  });
}

void sharcs_budget_free(sharcs_budget* budget) { delete budget; }

sharcs_status sharcs_session_create(const char* artifact, const sharcs_session_options* options, sharcs_session** out,
                                    sharcs_error** error) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, [&] {
    sharcs::require(artifact, "artifact");
    sharcs::require(out, "out");
    auto handle = std::make_unique<sharcs_session>();
    handle->session = std::make_unique<sharcs::Session>(artifact, sharcs::read_options(options));
    sharcs::describe(*handle);
    *out = handle.release();
  });
}

void sharcs_session_free(sharcs_session* session) { delete session; }

const sharcs_session_info* sharcs_session_get_info(const sharcs_session* session) {
  return session == nullptr ? nullptr : &session->info;
}

const char* sharcs_reason_name(int32_t reason) {
  static constexpr const char* kNames[] = {"unknown",   "router",    "explicit", "only_width", "escalated",
                                           "min_width", "max_width", "memory",   "deadline"};
  return reason >= SHARCS_REASON_ROUTER && reason <= SHARCS_REASON_DEADLINE ? kNames[reason] : kNames[0];
}

sharcs_status sharcs_session_predict(sharcs_session* session, const sharcs_text* texts, size_t num_texts,
                                     const sharcs_budget* budget, sharcs_prediction** out, sharcs_error** error) {
  if (out != nullptr) *out = nullptr;
  return guarded(error, [&] {
    sharcs::require(session, "session");
    sharcs::require(texts, "texts");
    sharcs::require(out, "out");
    auto prediction = session->session->predict(texts, num_texts, budget == nullptr ? nullptr : &budget->budget);
    *out = sharcs::to_c(std::move(prediction), session->session->manifest()).release();
  });
}

void sharcs_prediction_free(sharcs_prediction* prediction) { delete static_cast<sharcs::HeldPrediction*>(prediction); }

sharcs_status sharcs_session_predict_batch(sharcs_session* session, const sharcs_text* texts, size_t count,
                                           size_t batch_size, const sharcs_budget* budget, sharcs_prediction** out,
                                           sharcs_error** error) {
  for (size_t index = 0; out != nullptr && index < count; ++index) out[index] = nullptr;
  return guarded(error, [&] {
    sharcs::require(session, "session");
    if (count == 0) return;
    sharcs::require(texts, "texts");
    sharcs::require(out, "out");
    auto predictions = session->session->predict_batch(texts, count, batch_size == 0 ? 32 : batch_size,
                                                       budget == nullptr ? nullptr : &budget->budget);
    std::vector<std::unique_ptr<sharcs::HeldPrediction>> held;  // nothing is handed out before all are there
    held.reserve(count);
    for (auto& one : predictions) held.push_back(sharcs::to_c(std::move(one), session->session->manifest()));
    for (size_t index = 0; index < count; ++index) out[index] = held[index].release();
  });
}

sharcs_status sharcs_session_verify(sharcs_session* session, sharcs_error** error) {
  return guarded(error, [&] {
    sharcs::require(session, "session");
    const auto failures = sharcs::verify(*session->session);
    if (!failures.empty()) throw sharcs::Error(SHARCS_ERROR_PARITY, sharcs::join(failures, "; "));
  });
}

sharcs_status sharcs_session_push_conditions(sharcs_session* session, const sharcs_conditions* conditions,
                                             sharcs_error** error) {
  return guarded(error, [&] {
    sharcs::require(session, "session");
    sharcs::require(conditions, "conditions");
    session->session->conditions().push(sharcs::copy_options(*conditions));
  });
}

}  // extern "C"
