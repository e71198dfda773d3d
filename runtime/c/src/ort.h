// Graphs run by ONNX Runtime, whose library is loaded at run time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "manifest.h"
#include "ort_abi.h"

namespace sharcs {

// What OrtGetApiBase() of a library returns. `library`: as below. Throws SHARCS_ERROR_ENGINE.
const ort::ApiBase* find_onnxruntime(const std::string& library);

// ONNX Runtime of the app. Its library stays loaded for the life of the process: its threads may outlive a session.
class Ort {
 public:
  // `library`: name or path, "" for the one in the process or else the system's; `api_base`: what OrtGetApiBase()
  // returns, instead. Throws SHARCS_ERROR_ENGINE.
  Ort(const std::string& library, const void* api_base);
  ~Ort();
  Ort(const Ort&) = delete;
  Ort& operator=(const Ort&) = delete;

  const ort::Functions& operator()() const { return functions_; }
  const ort::Env* env() const { return env_; }
  const ort::MemoryInfo* memory() const { return memory_; }
  const std::string& version() const { return version_; }
  // Throws SHARCS_ERROR_ENGINE for a status that is a failure; `what` begins the message.
  void check(ort::Status* status, const char* what) const;
  // The first line of the message of a failure, which is released; "" for success.
  std::string message(ort::Status* status) const;

 private:
  ort::Functions functions_{};
  std::string version_;
  ort::Env* env_ = nullptr;
  ort::MemoryInfo* memory_ = nullptr;
};

// A tensor of ONNX Runtime.
class Tensor {
 public:
  Tensor() = default;
  Tensor(const Ort& ort, ort::Value* value) : ort_(&ort), value_(value) {}
  Tensor(Tensor&& other) noexcept : ort_(other.ort_), value_(other.value_) { other.value_ = nullptr; }
  Tensor& operator=(Tensor&& other) noexcept;
  ~Tensor() { reset(); }
  // A view of data that must outlive it.
  static Tensor of(const Ort& ort, const std::vector<std::int64_t>& data, std::initializer_list<std::int64_t> shape);
  static Tensor of(const Ort& ort, const std::vector<float>& data, std::initializer_list<std::int64_t> shape);

  const ort::Value* value() const { return value_; }
  // Its numbers; SHARCS_ERROR_ARTIFACT unless there are `count`: ONNX Runtime does not hold graphs to the shapes they
  // declare.
  const float* floats(std::size_t count) const;

 private:
  void reset() noexcept;

  const Ort* ort_ = nullptr;
  ort::Value* value_ = nullptr;
};

// One graph of the artifact. Thread-safe: ONNX Runtime's runs are.
class OrtGraph {
 public:
  // Throws SHARCS_ERROR_ARTIFACT if this ONNX Runtime cannot load `file`, or if its tensors are not the manifest's.
  OrtGraph(std::shared_ptr<const Ort> ort, const Graph& graph, const std::string& file, int threads);
  ~OrtGraph();
  OrtGraph(const OrtGraph&) = delete;
  OrtGraph& operator=(const OrtGraph&) = delete;

  // A trunk takes two or three tensors and gives two, a tail takes two and gives one.
  static constexpr std::size_t kMostInputs = 3;
  static constexpr std::size_t kMostOutputs = 2;
  using Inputs = std::array<const Tensor*, kMostInputs>;  // those that the graph does not take: nullptr
  using Outputs = std::array<Tensor, kMostOutputs>;       // those that it does not give: empty
  // The outputs in the manifest's order, for the inputs in its order. Throws SHARCS_ERROR_ENGINE if ONNX Runtime fails.
  Outputs run(const Inputs& inputs) const;

 private:
  void load(const std::string& file, int threads);
  void check_tensors(const std::string& file, const std::vector<TensorSpec>& specs, bool inputs) const;

  std::shared_ptr<const Ort> ort_;
  std::string name_;
  std::vector<std::string> inputs_;
  std::vector<std::string> outputs_;
  ort::Session* session_ = nullptr;
};

}  // namespace sharcs
