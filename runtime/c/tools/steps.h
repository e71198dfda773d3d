// The steps of a profile, for `sharcs-edge profile --runner`: a device without Python measures, the host computes.
#pragma once

#include <string>

namespace tools {

// Carries out requests, one JSON object a line on the standard input, with one JSON object a line on the standard output:
// {"do": STEP, ...} as in steps.cpp. What a step throws is an answer, {"failed": MESSAGE, "code": EXIT CODE}. Returns the
// exit code after an empty line, or once the input ends; while a step measures, that end means that nobody waits for it any
// more.
int serve_steps(const std::string& artifact, const std::string& onnxruntime);

}  // namespace tools
