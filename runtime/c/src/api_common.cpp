#include "api_common.h"

namespace sharcs {

void report(sharcs_error** error, const char* message) noexcept {
  if (error == nullptr) return;
  try {
    *error = new sharcs_error{message};
  } catch (...) {
    *error = nullptr;  // the status says it all
  }
}

}  // namespace sharcs

extern "C" {

const char* sharcs_version(void) { return SHARCS_VERSION; }

int32_t sharcs_abi_version(void) { return SHARCS_ABI_VERSION; }

const char* sharcs_status_message(sharcs_status status) {
  switch (status) {
    case SHARCS_OK:
      return "no error";
    case SHARCS_ERROR_ARTIFACT:
      return "the artifact is missing, incomplete or damaged";
    case SHARCS_ERROR_DOCUMENT:
      return "operating_points.json or latency.json breaks the specification";
    case SHARCS_ERROR_MANIFEST:
      return "manifest.json breaks the specification";
    case SHARCS_ERROR_INPUT:
      return "a text cannot be processed";
    case SHARCS_ERROR_USAGE:
      return "an argument or a budget cannot be";
    case SHARCS_ERROR_WIDTH:
      return "no such width, or limits that leave none";
    case SHARCS_ERROR_PARITY:
      return "the artifact does not agree with torch on this machine";
    case SHARCS_ERROR_OUT_OF_MEMORY:
      return "memory is short";
    case SHARCS_ERROR_ENGINE:
      return "ONNX Runtime is missing, too old, or failed";
    case SHARCS_ERROR_INTERNAL:
      return "a fault of the sharcs_edge library: please report it";
    default:
      return "an unknown status";
  }
}

const char* sharcs_error_message(const sharcs_error* error) { return error == nullptr ? "" : error->message.c_str(); }

void sharcs_error_free(sharcs_error* error) { delete error; }

}  // extern "C"
