#include "values.h"

#include <cstring>

namespace sharcs_jni {

Kotlin kotlin;

namespace {

// Numbers per rule and, before them, per set of limits, as Rule.wire() and Limits.wire() write them.
constexpr std::size_t kLimits = 9;
constexpr std::size_t kRule = kLimits + 7;

jclass find_class(JNIEnv* env, const char* name) {
  jclass local = env->FindClass(name);
  check(env);
  auto global = static_cast<jclass>(env->NewGlobalRef(local));
  if (global == nullptr) throw Pending();
  env->DeleteLocalRef(local);
  return global;
}

jmethodID find_method(JNIEnv* env, const char* name, const char* signature) {
  jmethodID method = env->GetStaticMethodID(kotlin.native, name, signature);
  check(env);
  return method;
}

sharcs_limits read_limits(const double* wire) {
  sharcs_limits limits{};
  limits.width = wire[0];
  limits.min_width = wire[1];
  limits.max_width = wire[2];
  limits.mean_ms = wire[3];
  limits.deadline_ms = wire[4];
  limits.memory_mb = wire[5];
  limits.energy_mj = wire[6];
  limits.max_drop = wire[7];
  limits.has_max_drop = static_cast<std::int32_t>(wire[8]);
  return limits;
}

sharcs_rule read_rule(const double* wire) {
  sharcs_rule rule{};
  rule.limits = read_limits(wire);
  wire += kLimits;
  rule.conditions = static_cast<std::uint32_t>(wire[0]);
  rule.throttled = static_cast<std::int32_t>(wire[1]);
  rule.background = static_cast<std::int32_t>(wire[2]);
  rule.battery_below = wire[3];
  rule.battery_above = wire[4];
  rule.temperature_below = wire[5];
  rule.temperature_above = wire[6];
  return rule;
}

jdoubleArray to_doubles(JNIEnv* env, const double* values, std::size_t count) {
  const auto size = static_cast<jsize>(count);
  jdoubleArray array = env->NewDoubleArray(size);
  check(env);
  env->SetDoubleArrayRegion(array, 0, size, values);
  return array;
}

jobjectArray to_texts(JNIEnv* env, const char* const* texts, std::size_t count) {
  jobjectArray array = env->NewObjectArray(static_cast<jsize>(count), kotlin.bytes, nullptr);
  check(env);
  for (std::size_t place = 0; place < count; ++place) {
    jbyteArray bytes = to_bytes(env, texts[place]);
    env->SetObjectArrayElement(array, static_cast<jsize>(place), bytes);
    env->DeleteLocalRef(bytes);
  }
  return array;
}

}  // namespace

void check(JNIEnv* env) {
  if (env->ExceptionCheck()) throw Pending();
}

void find_kotlin(JNIEnv* env) {
  kotlin.native = find_class(env, "sharcs/edge/Native");
  kotlin.bytes = find_class(env, "[B");
  kotlin.prediction = find_class(env, "sharcs/edge/Prediction");
  kotlin.make_exception = find_method(env, "makeException", "(I[B)Lsharcs/edge/SharcsEdgeException;");
  kotlin.make_info = find_method(env, "makeInfo", "([B[D[[BIIII[B)Lsharcs/edge/SessionInfo;");
  kotlin.make_prediction = find_method(env, "makePrediction", "([BIDD[[B[DDD[B[DIIDJZ)Lsharcs/edge/Prediction;");
}

void raise(JNIEnv* env, sharcs_status status, const char* message) {
  jbyteArray bytes = to_bytes(env, message);
  jobject thrown = env->CallStaticObjectMethod(kotlin.native, kotlin.make_exception, status, bytes);
  check(env);
  env->Throw(static_cast<jthrowable>(thrown));
  throw Pending();
}

void raise(JNIEnv* env, sharcs_status status, sharcs_error* error) {
  const std::unique_ptr<sharcs_error, decltype(&sharcs_error_free)> held(error, &sharcs_error_free);
  raise(env, status, error == nullptr ? sharcs_status_message(status) : sharcs_error_message(error));
}

std::string read_bytes(JNIEnv* env, jbyteArray bytes) {
  const jsize size = env->GetArrayLength(bytes);
  std::string text(static_cast<std::size_t>(size), '\0');
  env->GetByteArrayRegion(bytes, 0, size, reinterpret_cast<jbyte*>(text.data()));
  return text;
}

std::vector<std::string> read_texts(JNIEnv* env, jobjectArray texts) {
  const jsize count = env->GetArrayLength(texts);
  std::vector<std::string> found;
  found.reserve(static_cast<std::size_t>(count));
  for (jsize place = 0; place < count; ++place) {
    auto bytes = static_cast<jbyteArray>(env->GetObjectArrayElement(texts, place));
    found.push_back(read_bytes(env, bytes));
    env->DeleteLocalRef(bytes);
  }
  return found;
}

BudgetHandle read_budget(JNIEnv* env, jdoubleArray wire) {
  if (wire == nullptr) return nullptr;
  std::vector<double> numbers(static_cast<std::size_t>(env->GetArrayLength(wire)));
  env->GetDoubleArrayRegion(wire, 0, static_cast<jsize>(numbers.size()), numbers.data());
  std::vector<sharcs_rule> rules;
  for (std::size_t place = 1 + kLimits; place < numbers.size(); place += kRule) {
    rules.push_back(read_rule(&numbers[place]));
  }
  sharcs_budget_options options = SHARCS_BUDGET_OPTIONS_INIT;
  options.watts = numbers[0];
  options.limits = read_limits(&numbers[1]);
  options.rules = rules.data();
  options.num_rules = rules.size();
  sharcs_budget* budget = nullptr;
  sharcs_error* error = nullptr;
  const sharcs_status status = sharcs_budget_create(&options, &budget, &error);
  if (status != SHARCS_OK) raise(env, status, error);
  return BudgetHandle(budget);
}

jbyteArray to_bytes(JNIEnv* env, const char* text) {
  const auto size = static_cast<jsize>(std::strlen(text));
  jbyteArray bytes = env->NewByteArray(size);
  check(env);
  env->SetByteArrayRegion(bytes, 0, size, reinterpret_cast<const jbyte*>(text));
  return bytes;
}

jobject to_info(JNIEnv* env, const sharcs_session_info& info) {
  jobject made = env->CallStaticObjectMethod(
      kotlin.native, kotlin.make_info, to_bytes(env, info.family), to_doubles(env, info.widths, info.num_widths),
      to_texts(env, info.labels, info.num_labels), info.task, info.text_inputs, info.max_length, info.num_points,
      to_bytes(env, info.onnxruntime_version));
  check(env);
  return made;
}

jobject to_prediction(JNIEnv* env, const sharcs_prediction& prediction, bool multi_label) {
  const sharcs_prediction& p = prediction;
  jobject made = env->CallStaticObjectMethod(
      kotlin.native, kotlin.make_prediction, p.label == nullptr ? nullptr : to_bytes(env, p.label), p.label_index,
      p.score, p.value, multi_label ? to_texts(env, p.labels, p.num_labels) : nullptr,
      p.scores == nullptr ? nullptr : to_doubles(env, p.scores, p.num_scores), p.confidence, p.width,
      to_bytes(env, sharcs_reason_name(p.reason)), to_doubles(env, p.ran, p.num_ran), p.point, p.budget_met,
      p.milliseconds, static_cast<jlong>(p.tokens), static_cast<jboolean>(p.truncated != 0));
  check(env);
  return made;
}

}  // namespace sharcs_jni
