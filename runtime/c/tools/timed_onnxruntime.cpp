#include "timed_onnxruntime.h"

#include <algorithm>
#include <cstddef>

#include "condition_reader.h"

namespace tools {
namespace {

namespace ort = sharcs::ort;

constexpr std::size_t kRun = 9;
constexpr std::size_t kExpectedRuns = 64;

const ort::ApiBase* original;

class Clock {
 public:
  explicit Clock(bool run) : run_(run), start_(sharcs::steady_seconds()) {}
  ~Clock() {
    const double seconds = sharcs::steady_seconds() - start_;
    timed_calls().all += seconds;
    if (run_) timed_calls().runs.push_back(seconds);
  }
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;

 private:
  bool run_;
  double start_;
};

// The function at a place of OrtApi, timed.
template <std::size_t Place, typename Function>
struct Timed;
template <std::size_t Place, typename Result, typename... Arguments>
struct Timed<Place, Result (*)(Arguments...)> {
  static inline Result (*function)(Arguments...) = nullptr;
  static Result call(Arguments... arguments) {
    const Clock clock(Place == kRun);
    return function(arguments...);
  }
};

#define SHARCS_ORT_PLACE(place, ...) place,
constexpr std::size_t kPlaces[] = {SHARCS_ORT_FUNCTIONS(SHARCS_ORT_PLACE)};
#undef SHARCS_ORT_PLACE
constexpr std::size_t kSize = *std::max_element(std::begin(kPlaces), std::end(kPlaces)) + 1;
const void* table[kSize];  // what the library does not use stays NULL

const void* const* timed_api(std::uint32_t version) {
  const void* const* functions = original->GetApi(version);
  if (functions == nullptr) return nullptr;
#define SHARCS_ORT_TIME(place, name, ...)                                                                    \
  using name##Timed = Timed<place, ort::Functions::name##Type>;                                              \
  name##Timed::function = reinterpret_cast<ort::Functions::name##Type>(const_cast<void*>(functions[place])); \
  table[place] = reinterpret_cast<const void*>(&name##Timed::call);
  SHARCS_ORT_FUNCTIONS(SHARCS_ORT_TIME)
#undef SHARCS_ORT_TIME
  return table;
}

const char* version_string() { return original->GetVersionString(); }

}  // namespace

void TimedCalls::reset() {
  all = 0;
  runs.clear();
  runs.reserve(kExpectedRuns);
}

TimedCalls& timed_calls() {
  static TimedCalls calls;
  return calls;
}

const ort::ApiBase* timed_onnxruntime(const ort::ApiBase* base) {
  static constexpr ort::ApiBase kTimed{timed_api, version_string};
  original = base;
  return &kTimed;
}

}  // namespace tools
