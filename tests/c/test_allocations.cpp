// Every allocation that fails is a status, never a crash, a leak or a half-made object.
//
// The test has a C++ library of its own (linked statically), so that ONNX Runtime, which ends the process when one of its
// allocations fails, keeps the operators of the shared one.
#include <cstdlib>
#include <new>

#include "sharcs_edge.h"
#include "support.h"

namespace {

long allowed = -1;  // allocations until one fails; below 0: none does
bool failed = false;

void* allocate(std::size_t size) {
  if (allowed == 0) {
    failed = true;
    throw std::bad_alloc();
  }
  if (allowed > 0) --allowed;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

// Lets the n-th allocation of `action` and all behind it fail, for every n, until none is left to fail.
template <typename Action>
long fail_each(Action action, long step) {
  for (long n = 0;; n += step) {
    allowed = n;
    failed = false;
    const sharcs_status status = action();
    allowed = -1;
    if (!failed) {
      CHECK(status == SHARCS_OK);
      return n;
    }
    if (status != SHARCS_ERROR_OUT_OF_MEMORY) FAIL_CHECK("allocation " << n << " gave the status " << status);
  }
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t) noexcept { std::free(memory); }

TEST_CASE("allocations: a budget") {
  sharcs_rule rule{};
  rule.limits.max_width = 0.5;
  rule.conditions = SHARCS_HAS_THROTTLED;
  const sharcs_rule rules[] = {rule, rule};
  sharcs_budget_options options = SHARCS_BUDGET_OPTIONS_INIT;
  options.rules = rules;
  options.num_rules = 2;
  const long count = fail_each(
      [&] {
        sharcs_budget* budget = nullptr;
        sharcs_error* error = nullptr;
        const sharcs_status status = sharcs_budget_create(&options, &budget, &error);
        CHECK((budget != nullptr) == (status == SHARCS_OK));
        sharcs_budget_free(budget);
        sharcs_error_free(error);
        return status;
      },
      1);
  CHECK(count > 2);
}

TEST_CASE("allocations: loading a session") {
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  options.onnxruntime = ONNXRUNTIME;
  const long count = fail_each(
      [&] {
        sharcs_session* session = nullptr;
        const sharcs_status status = sharcs_session_create(DATA "/classification", &options, &session, nullptr);
        CHECK((session != nullptr) == (status == SHARCS_OK));
        sharcs_session_free(session);
        return status;
      },
      1);
  CHECK(count > 500);
}

TEST_CASE("allocations: predictions, alone and in a batch, under a budget with rules") {
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  options.onnxruntime = ONNXRUNTIME;
  sharcs_session* session = nullptr;
  REQUIRE(sharcs_session_create(DATA "/classification", &options, &session, nullptr) == SHARCS_OK);
  sharcs_rule rule{};
  rule.limits.max_width = 0.5;
  rule.conditions = SHARCS_HAS_BACKGROUND;
  sharcs_budget_options limits = SHARCS_BUDGET_OPTIONS_INIT;
  limits.limits.mean_ms = 5;
  limits.limits.deadline_ms = 1000;
  limits.rules = &rule;
  limits.num_rules = 1;
  const sharcs_text texts[] = {{"turn \xc3\xb6n the light, and play some music", 40}, {"light", 5}};
  const auto run = [&](bool batch) {
    sharcs_budget* budget = nullptr;
    limits.limits.mean_ms += 0.001;  // another budget, so that its account is made anew
    const long left = allowed;
    allowed = -1;
    REQUIRE(sharcs_budget_create(&limits, &budget, nullptr) == SHARCS_OK);
    allowed = left;
    sharcs_prediction* found[2] = {nullptr, nullptr};
    const sharcs_status status = batch ? sharcs_session_predict_batch(session, texts, 2, 0, budget, found, nullptr)
                                       : sharcs_session_predict(session, texts, 1, budget, found, nullptr);
    CHECK((found[0] != nullptr) == (status == SHARCS_OK));
    for (sharcs_prediction* one : found) sharcs_prediction_free(one);
    sharcs_budget_free(budget);
    return status;
  };
  CHECK(fail_each([&] { return run(false); }, 1) > 20);
  CHECK(fail_each([&] { return run(true); }, 1) > 30);
  sharcs_session_free(session);
}
