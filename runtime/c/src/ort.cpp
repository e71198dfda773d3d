#include "ort.h"

#include <algorithm>

#include "error.h"
#include "text.h"

namespace sharcs {
namespace {

// Frees what a release function of ONNX Runtime frees.
template <typename T>
class Held {
 public:
  Held(void (*release)(T*)) : release_(release) {}
  ~Held() { release_(value); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  T* value = nullptr;

 private:
  void (*release_)(T*);
};

template <typename T>
Tensor view(const Ort& ort, const std::vector<T>& data, std::initializer_list<std::int64_t> shape, int type) {
  ort::Value* value = nullptr;
  // ONNX Runtime takes inputs as they are; its C interface has no const for them.
  ort.check(ort().CreateTensorWithDataAsOrtValue(ort.memory(), const_cast<T*>(data.data()), data.size() * sizeof(T),
                                                 shape.begin(), shape.size(), type, &value),
            "a tensor cannot be made");
  return Tensor(ort, value);
}

std::vector<std::int64_t> shape_of(const Ort& ort, const ort::TensorInfo* info) {
  std::size_t count = 0;
  ort.check(ort().GetDimensionsCount(info, &count), "a shape cannot be read");
  std::vector<std::int64_t> shape(count);
  ort.check(ort().GetDimensions(info, shape.data(), count), "a shape cannot be read");
  return shape;
}

struct Found {
  std::string name;
  int type = 0;
  std::vector<std::int64_t> shape;  // -1: free
};

Found read_tensor(const Ort& ort, const ort::Session* session, std::size_t index, bool input) {
  Found found;
  ort::Allocator* allocator = nullptr;
  ort.check(ort().GetAllocatorWithDefaultOptions(&allocator), "no allocator");
  char* name = nullptr;
  ort.check((input ? ort().SessionGetInputName : ort().SessionGetOutputName)(session, index, allocator, &name),
            "a tensor's name cannot be read");
  try {
    found.name = name;
  } catch (...) {
    ort.message(ort().AllocatorFree(allocator, name));
    throw;
  }
  ort.message(ort().AllocatorFree(allocator, name));
  Held<ort::TypeInfo> type(ort().ReleaseTypeInfo);
  ort.check((input ? ort().SessionGetInputTypeInfo : ort().SessionGetOutputTypeInfo)(session, index, &type.value),
            "a tensor's type cannot be read");
  const ort::TensorInfo* info = nullptr;
  ort.check(ort().CastTypeInfoToTensorInfo(type.value, &info), "a tensor's type cannot be read");
  if (info == nullptr) return found;  // a sequence or a map
  ort.check(ort().GetTensorElementType(info, &found.type), "a tensor's type cannot be read");
  found.shape = shape_of(ort, info);
  return found;
}

// A symbol of the manifest must be free in the file; a size must be that size or free.
bool shape_agrees(const std::vector<std::int64_t>& found, const std::vector<Dimension>& spec) {
  if (found.size() != spec.size()) return false;
  for (std::size_t index = 0; index < spec.size(); ++index) {
    const auto* size = std::get_if<std::int64_t>(&spec[index]);
    if (found[index] >= 0 && (size == nullptr || *size != found[index])) return false;
  }
  return true;
}

}  // namespace

Tensor& Tensor::operator=(Tensor&& other) noexcept {
  if (this != &other) {
    reset();
    ort_ = other.ort_;
    value_ = other.value_;
    other.value_ = nullptr;
  }
  return *this;
}

void Tensor::reset() noexcept {
  if (value_ != nullptr) (*ort_)().ReleaseValue(value_);
  value_ = nullptr;
}

Tensor Tensor::of(const Ort& ort, const std::vector<std::int64_t>& data, std::initializer_list<std::int64_t> shape) {
  return view(ort, data, shape, ort::kInt64);
}

Tensor Tensor::of(const Ort& ort, const std::vector<float>& data, std::initializer_list<std::int64_t> shape) {
  return view(ort, data, shape, ort::kFloat);
}

const float* Tensor::floats(std::size_t count) const {
  Held<ort::TensorInfo> info((*ort_)().ReleaseTensorTypeAndShapeInfo);
  ort_->check((*ort_)().GetTensorTypeAndShape(value_, &info.value), "a tensor's shape cannot be read");
  std::size_t found = 0;
  ort_->check((*ort_)().GetTensorShapeElementCount(info.value, &found), "a tensor's shape cannot be read");
  if (found != count) {
    throw_artifact("a graph gave " + std::to_string(found) + " numbers where the manifest asks for " +
                   std::to_string(count) + ": export the artifact again");
  }
  void* data = nullptr;
  ort_->check((*ort_)().GetTensorMutableData(value_, &data), "a tensor cannot be read");
  return static_cast<const float*>(data);
}

OrtGraph::OrtGraph(std::shared_ptr<const Ort> ort, const Graph& graph, const std::string& file, int threads)
    : ort_(std::move(ort)), name_(graph.name) {
  for (const TensorSpec& tensor : graph.inputs) inputs_.push_back(tensor.name);
  for (const TensorSpec& tensor : graph.outputs) outputs_.push_back(tensor.name);
  load(file, threads);
  try {
    check_tensors(file, graph.inputs, true);
    check_tensors(file, graph.outputs, false);
  } catch (...) {
    (*ort_)().ReleaseSession(session_);
    throw;
  }
}

OrtGraph::~OrtGraph() { (*ort_)().ReleaseSession(session_); }

void OrtGraph::load(const std::string& file, int threads) {
  const ort::Functions& f = (*ort_)();
  const auto create = [&](bool own_threads) -> std::string {
    Held<ort::SessionOptions> options(f.ReleaseSessionOptions);
    const auto set = [&](ort::Status* status) { ort_->check(status, "an option of ONNX Runtime cannot be set"); };
    set(f.CreateSessionOptions(&options.value));
    set(f.SetSessionLogSeverityLevel(options.value, ort::kLogError));
    set(f.DisableMemPattern(options.value));  // it would keep one plan per input length seen, for ever
    if (own_threads) {
      set(f.SetIntraOpNumThreads(options.value, threads));
      set(f.SetInterOpNumThreads(options.value, 1));
      set(f.AddSessionConfigEntry(options.value, "session.intra_op.allow_spinning", "0"));
    } else {
      set(f.DisablePerSessionThreads(options.value));
      set(f.AddSessionConfigEntry(options.value, "session.force_spinning_stop", "1"));
    }
    return ort_->message(f.CreateSession(ort_->env(), file.c_str(), options.value, &session_));
  };
  std::string failure = create(true);
  // The program made a pool for its process; there is no query for it.
  if (failure.find("use_per_session_threads must be false") != std::string::npos) failure = create(false);
  if (!failure.empty()) {
    throw_artifact(file + " (" + name_ + ") cannot be loaded by ONNX Runtime " + ort_->version() + ": " + failure +
                   "; update ONNX Runtime or export the artifact again");
  }
}

void OrtGraph::check_tensors(const std::string& file, const std::vector<TensorSpec>& specs, bool inputs) const {
  std::size_t count = 0;
  const ort::Functions& f = (*ort_)();
  ort_->check((inputs ? f.SessionGetInputCount : f.SessionGetOutputCount)(session_, &count), "tensors cannot be counted");
  std::vector<Found> found;
  std::vector<std::string> names;
  for (std::size_t index = 0; index < count; ++index) {
    found.push_back(read_tensor(*ort_, session_, index, inputs));
    names.push_back(found.back().name);
  }
  std::vector<std::string> expected;
  for (const TensorSpec& spec : specs) expected.push_back(spec.name);
  std::vector<std::string> sorted = names;
  std::sort(sorted.begin(), sorted.end());
  std::sort(expected.begin(), expected.end());
  if (sorted != expected) {
    throw_artifact(file + " has the tensors " + join(sorted, ", ") + ", the manifest says " + join(expected, ", ") +
                   " for " + name_ + ": export the artifact again");
  }
  for (const TensorSpec& spec : specs) {
    const auto place = std::find(names.begin(), names.end(), spec.name);
    const Found& tensor = found[static_cast<std::size_t>(place - names.begin())];
    const int type = spec.dtype == "int64" ? ort::kInt64 : ort::kFloat;
    if (tensor.type == type && shape_agrees(tensor.shape, spec.shape)) continue;
    throw_artifact(file + ": " + spec.name + " has another type or shape than the manifest says (" + spec.dtype + ") for " +
                   name_ + ": export the artifact again");
  }
}

OrtGraph::Outputs OrtGraph::run(const Inputs& inputs) const {
  const char* input_names[kMostInputs];
  const char* output_names[kMostOutputs];
  const ort::Value* values[kMostInputs];
  ort::Value* results[kMostOutputs] = {};
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    input_names[index] = inputs_[index].c_str();
    values[index] = inputs[index]->value();
  }
  for (std::size_t index = 0; index < outputs_.size(); ++index) output_names[index] = outputs_[index].c_str();
  ort::Status* status =
      (*ort_)().Run(session_, nullptr, input_names, values, inputs_.size(), output_names, outputs_.size(), results);
  Outputs outputs;
  for (std::size_t index = 0; index < outputs_.size(); ++index) outputs[index] = Tensor(*ort_, results[index]);
  if (status != nullptr) throw_engine(name_ + ": ONNX Runtime failed: " + ort_->message(status));
  return outputs;
}

}  // namespace sharcs
