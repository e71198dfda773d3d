// The places of ort_abi.h are those of an onnxruntime_c_api.h. Compiled where such a header is given.
#include <onnxruntime_c_api.h>

#include <cstddef>

#include "ort_abi.h"

#define SHARCS_CHECK(place, name, ...) \
  static_assert(offsetof(OrtApi, name) == (place) * sizeof(void*), #name " is at another place");
SHARCS_ORT_FUNCTIONS(SHARCS_CHECK)

static_assert(offsetof(OrtApiBase, GetApi) == offsetof(sharcs::ort::ApiBase, GetApi), "GetApi");
static_assert(offsetof(OrtApiBase, GetVersionString) == offsetof(sharcs::ort::ApiBase, GetVersionString), "version");
static_assert(ORT_API_VERSION >= sharcs::ort::kApiVersion, "the header is older than ONNX Runtime 1.20");
static_assert(sharcs::ort::kLogError == ORT_LOGGING_LEVEL_ERROR, "log level");
static_assert(sharcs::ort::kArenaAllocator == OrtArenaAllocator, "allocator");
static_assert(sharcs::ort::kMemoryDefault == OrtMemTypeDefault, "memory");
static_assert(sharcs::ort::kFloat == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, "float");
static_assert(sharcs::ort::kInt64 == ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, "int64");

int main() { return 0; }
