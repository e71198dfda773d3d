// ONNX Runtime with a clock around each of its functions, so that a prediction's own share of its time can be told.
#pragma once

#include <vector>

#include "ort_abi.h"

namespace tools {

// What ONNX Runtime took since the last `reset`, in seconds. Of the whole process: for one thread at a time.
struct TimedCalls {
  double all = 0;
  std::vector<double> runs;  // of them each run of a graph, in order

  void reset();
};
TimedCalls& timed_calls();

// The functions of `base`, timed.
const sharcs::ort::ApiBase* timed_onnxruntime(const sharcs::ort::ApiBase* base);

}  // namespace tools
