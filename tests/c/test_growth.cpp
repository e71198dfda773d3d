// Predictions leave no memory behind: after 10,000 of them, or as many as SHARCS_PREDICTIONS says. To be exact, it needs
// GLIBC_TUNABLES=glibc.malloc.tcache_count=0, as ctest sets it; and ORT_DISABLE_TELEMETRY=1, without which the sending
// thread of Microsoft's ONNX Runtime takes some 15 KB for itself once it looks up its host.
#include <malloc.h>

#include <cstdlib>
#include <string>

#include "sharcs_edge.h"
#include "support.h"

namespace {

constexpr const char* kTexts[] = {"turn on the light", "a", "what is the weather today? play some m\xc3\xbcsic",
                                  "is the music playing?"};

// Blocks that were given back and asked for again may have another size: a few hundred bytes, whatever the count.
constexpr std::size_t kNoise = 2048;

// Bytes that the program has asked for and not freed, of ONNX Runtime's allocations too.
std::size_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

void predict(sharcs_session* session, const sharcs_budget* budget, long count) {
  long failed = 0;
  for (long turn = 0; turn < count; ++turn) {
    const std::string text = kTexts[turn % 4];
    const sharcs_text given{text.data(), turn % 97 == 96 ? 0 : text.size()};  // some are refused
    sharcs_prediction* prediction = nullptr;
    sharcs_error* error = nullptr;
    const sharcs_status status =
        sharcs_session_predict(session, &given, 1, turn % 3 == 0 ? budget : nullptr, &prediction, &error);
    failed += (status == SHARCS_OK) != (given.size != 0);
    sharcs_prediction_free(prediction);
    sharcs_error_free(error);
  }
  CHECK(failed == 0);
}

}  // namespace

TEST_CASE("growth: predictions leave nothing behind") {
  const char* asked = std::getenv("SHARCS_PREDICTIONS");
  const long count = asked == nullptr ? 10000 : std::strtol(asked, nullptr, 10);
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
  sharcs_budget* budget = nullptr;
  REQUIRE(sharcs_budget_create(&limits, &budget, nullptr) == SHARCS_OK);
  predict(session, budget, 2000);
  const std::size_t before = bytes_in_use();
  predict(session, budget, count);
  const std::size_t after = bytes_in_use();
  MESSAGE(count << " predictions: " << before << " bytes in use before, " << after << " after");
  CHECK(after < before + kNoise);
  sharcs_budget_free(budget);
  sharcs_session_free(session);
}
