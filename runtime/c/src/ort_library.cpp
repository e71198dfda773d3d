#include <dlfcn.h>

#include <cstdio>

#include "error.h"
#include "ort.h"

namespace sharcs {
namespace {

using GetApiBase = const ort::ApiBase* (*)();

#if defined(__APPLE__)
constexpr const char* kNames[] = {"libonnxruntime.dylib", "onnxruntime.framework/onnxruntime"};
#else
constexpr const char* kNames[] = {"libonnxruntime.so", "libonnxruntime.so.1"};
#endif
constexpr const char* kSymbol = "OrtGetApiBase";

GetApiBase symbol_of(void* library) { return reinterpret_cast<GetApiBase>(dlsym(library, kSymbol)); }

const ort::ApiBase* open(const std::string& name) {
  void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return nullptr;
  const GetApiBase get = symbol_of(library);
  if (get == nullptr) throw_engine(name + " has no " + kSymbol + ": it is not ONNX Runtime; give its library");
  return get();
}

}  // namespace

const ort::ApiBase* find_onnxruntime(const std::string& library) {
  if (!library.empty()) {
    const ort::ApiBase* base = open(library);
    if (base == nullptr) {
      const char* reason = dlerror();
      throw_engine("ONNX Runtime cannot be loaded (" + std::string(reason == nullptr ? library : reason) +
                   "); give the path of its library");
    }
    return base;
  }
  if (const GetApiBase get = symbol_of(RTLD_DEFAULT)) return get();
  for (const char* name : kNames) {
    if (const ort::ApiBase* base = open(name)) return base;
  }
  throw_engine(std::string("ONNX Runtime was not found (") + kNames[0] +
               "); add it to the app, or give the path of its library");
}

Ort::Ort(const std::string& library, const void* api_base) {
  const auto* base = api_base != nullptr ? static_cast<const ort::ApiBase*>(api_base) : find_onnxruntime(library);
  version_ = base->GetVersionString();
  int major = 0;
  int minor = 0;
  const bool known = std::sscanf(version_.c_str(), "%d.%d", &major, &minor) == 2;
  const bool old = known && (major < 1 || (major == 1 && minor < static_cast<int>(ort::kApiVersion)));
  const void* const* table = old ? nullptr : base->GetApi(ort::kApiVersion);
  if (table == nullptr) throw_engine("ONNX Runtime " + version_ + " is too old; 1.20 or newer is needed");
#define SHARCS_ORT_READ(place, name, ...) \
  functions_.name = reinterpret_cast<ort::Functions::name##Type>(const_cast<void*>(table[place]));
  SHARCS_ORT_FUNCTIONS(SHARCS_ORT_READ)
#undef SHARCS_ORT_READ
  check(functions_.CreateEnv(ort::kLogError, "sharcs_edge", &env_), "ONNX Runtime cannot start");
  // Microsoft's builds from 1.29 on report loaded models and runs to Microsoft unless they are told not to.
  std::string failure = message(functions_.DisableTelemetryEvents(env_));
  if (failure.empty()) {
    failure = message(functions_.CreateCpuMemoryInfo(ort::kArenaAllocator, ort::kMemoryDefault, &memory_));
  }
  if (!failure.empty()) {
    functions_.ReleaseEnv(env_);
    throw_engine("ONNX Runtime cannot start: " + failure);
  }
}

Ort::~Ort() {
  functions_.ReleaseMemoryInfo(memory_);
  functions_.ReleaseEnv(env_);
}

std::string Ort::message(ort::Status* status) const {
  if (status == nullptr) return "";
  struct Release {
    const ort::Functions& functions;
    ort::Status* status;
    ~Release() { functions.ReleaseStatus(status); }
  } release{functions_, status};
  std::string text = functions_.GetErrorMessage(status);
  text = text.substr(0, text.find('\n'));
  return text.empty() ? "unknown failure " + std::to_string(functions_.GetErrorCode(status)) : text;
}

void Ort::check(ort::Status* status, const char* what) const {
  if (status != nullptr) throw_engine(std::string(what) + ": " + message(status));
}

}  // namespace sharcs
