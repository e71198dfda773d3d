// The part of ONNX Runtime's C interface that is used: OrtApi is a table of functions that only ever grows at its end, so
// a place in it, once released, stays (API version 20, ONNX Runtime 1.20). tests/c/test_ort_abi.cpp compares these places
// with an onnxruntime_c_api.h where one is at hand; none is needed to build.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sharcs::ort {

struct Status;
struct Env;
struct Session;
struct SessionOptions;
struct RunOptions;
struct Value;
struct TypeInfo;
struct TensorInfo;
struct MemoryInfo;
struct Allocator;

struct ApiBase {
  const void* const* (*GetApi)(std::uint32_t version);
  const char* (*GetVersionString)();
};

constexpr std::uint32_t kApiVersion = 20;
constexpr int kLogError = 3;
constexpr int kArenaAllocator = 1;
constexpr int kMemoryDefault = 0;
constexpr int kFloat = 1;
constexpr int kInt64 = 7;

// Place in OrtApi, name, type.
#define SHARCS_ORT_FUNCTIONS(X)                                                                                        \
  X(1, GetErrorCode, int (*)(const Status*))                                                                           \
  X(2, GetErrorMessage, const char* (*)(const Status*))                                                                \
  X(3, CreateEnv, Status* (*)(int, const char*, Env**))                                                                \
  X(6, DisableTelemetryEvents, Status* (*)(const Env*))                                                                \
  X(7, CreateSession, Status* (*)(const Env*, const char*, const SessionOptions*, Session**))                          \
  X(9, Run,                                                                                                            \
    Status* (*)(Session*, const RunOptions*, const char* const*, const Value* const*, std::size_t, const char* const*, \
                std::size_t, Value**))                                                                                 \
  X(10, CreateSessionOptions, Status* (*)(SessionOptions**))                                                           \
  X(17, DisableMemPattern, Status* (*)(SessionOptions*))                                                               \
  X(22, SetSessionLogSeverityLevel, Status* (*)(SessionOptions*, int))                                                 \
  X(24, SetIntraOpNumThreads, Status* (*)(SessionOptions*, int))                                                       \
  X(25, SetInterOpNumThreads, Status* (*)(SessionOptions*, int))                                                       \
  X(30, SessionGetInputCount, Status* (*)(const Session*, std::size_t*))                                               \
  X(31, SessionGetOutputCount, Status* (*)(const Session*, std::size_t*))                                              \
  X(33, SessionGetInputTypeInfo, Status* (*)(const Session*, std::size_t, TypeInfo**))                                 \
  X(34, SessionGetOutputTypeInfo, Status* (*)(const Session*, std::size_t, TypeInfo**))                                \
  X(36, SessionGetInputName, Status* (*)(const Session*, std::size_t, Allocator*, char**))                             \
  X(37, SessionGetOutputName, Status* (*)(const Session*, std::size_t, Allocator*, char**))                            \
  X(49, CreateTensorWithDataAsOrtValue,                                                                                \
    Status* (*)(const MemoryInfo*, void*, std::size_t, const std::int64_t*, std::size_t, int, Value**))                \
  X(51, GetTensorMutableData, Status* (*)(Value*, void**))                                                             \
  X(55, CastTypeInfoToTensorInfo, Status* (*)(const TypeInfo*, const TensorInfo**))                                    \
  X(60, GetTensorElementType, Status* (*)(const TensorInfo*, int*))                                                    \
  X(61, GetDimensionsCount, Status* (*)(const TensorInfo*, std::size_t*))                                              \
  X(62, GetDimensions, Status* (*)(const TensorInfo*, std::int64_t*, std::size_t))                                     \
  X(64, GetTensorShapeElementCount, Status* (*)(const TensorInfo*, std::size_t*))                                      \
  X(65, GetTensorTypeAndShape, Status* (*)(const Value*, TensorInfo**))                                                \
  X(69, CreateCpuMemoryInfo, Status* (*)(int, int, MemoryInfo**))                                                      \
  X(76, AllocatorFree, Status* (*)(Allocator*, void*))                                                                 \
  X(78, GetAllocatorWithDefaultOptions, Status* (*)(Allocator**))                                                      \
  X(92, ReleaseEnv, void (*)(Env*))                                                                                    \
  X(93, ReleaseStatus, void (*)(Status*))                                                                              \
  X(94, ReleaseMemoryInfo, void (*)(MemoryInfo*))                                                                      \
  X(95, ReleaseSession, void (*)(Session*))                                                                            \
  X(96, ReleaseValue, void (*)(Value*))                                                                                \
  X(98, ReleaseTypeInfo, void (*)(TypeInfo*))                                                                          \
  X(99, ReleaseTensorTypeAndShapeInfo, void (*)(TensorInfo*))                                                          \
  X(100, ReleaseSessionOptions, void (*)(SessionOptions*))                                                             \
  X(120, DisablePerSessionThreads, Status* (*)(SessionOptions*))                                                       \
  X(130, AddSessionConfigEntry, Status* (*)(SessionOptions*, const char*, const char*))

struct Functions {
#define SHARCS_ORT_MEMBER(place, name, ...) \
  using name##Type = __VA_ARGS__;           \
  name##Type name;
  SHARCS_ORT_FUNCTIONS(SHARCS_ORT_MEMBER)
#undef SHARCS_ORT_MEMBER
};

}  // namespace sharcs::ort
