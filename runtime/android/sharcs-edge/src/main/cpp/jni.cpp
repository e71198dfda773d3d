// The JNI side of sharcs.edge: arguments over, answers back; it decides nothing.
#include <new>

#include "values.h"

namespace {

using namespace sharcs_jni;

sharcs_session* session_of(jlong handle) { return reinterpret_cast<sharcs_session*>(handle); }

// Runs `body`; nothing of C++ is thrown into Java.
template <typename Result, typename Body>
Result guarded(JNIEnv* env, Result failed, Body body) {
  try {
    try {
      return body();
    } catch (const std::bad_alloc&) {
      raise(env, SHARCS_ERROR_OUT_OF_MEMORY, sharcs_status_message(SHARCS_ERROR_OUT_OF_MEMORY));
    }
  } catch (const Pending&) {
    return failed;
  }
}

struct PredictionDeleter {
  void operator()(sharcs_prediction* prediction) const { sharcs_prediction_free(prediction); }
};
using PredictionHandle = std::unique_ptr<sharcs_prediction, PredictionDeleter>;

bool is_multi_label(const sharcs_session* session) {
  return sharcs_session_get_info(session)->task == SHARCS_MULTI_LABEL;
}

std::vector<sharcs_text> views(const std::vector<std::string>& texts) {
  std::vector<sharcs_text> found;
  found.reserve(texts.size());
  for (const std::string& text : texts) found.push_back({text.data(), text.size()});
  return found;
}

jbyteArray version(JNIEnv* env, jclass) {
  return guarded<jbyteArray>(env, nullptr, [&] { return to_bytes(env, sharcs_version()); });
}

jlong create(JNIEnv* env, jclass, jbyteArray artifact, jbyteArray onnxruntime, jdoubleArray budget, jint threads,
             jboolean skip_hashes, jboolean uncalibrated) {
  return guarded<jlong>(env, 0, [&] {
    const BudgetHandle held = read_budget(env, budget);
    const std::string library = onnxruntime == nullptr ? std::string() : read_bytes(env, onnxruntime);
    sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
    options.onnxruntime = onnxruntime == nullptr ? nullptr : library.c_str();
    options.budget = held.get();
    options.threads = threads;
    options.skip_hashes = skip_hashes;
    options.uncalibrated = uncalibrated;
    sharcs_session* session = nullptr;
    sharcs_error* error = nullptr;
    const sharcs_status status = sharcs_session_create(read_bytes(env, artifact).c_str(), &options, &session, &error);
    if (status != SHARCS_OK) raise(env, status, error);
    return reinterpret_cast<jlong>(session);
  });
}

void release(JNIEnv*, jclass, jlong handle) { sharcs_session_free(session_of(handle)); }

jobject info(JNIEnv* env, jclass, jlong handle) {
  return guarded<jobject>(env, nullptr, [&] { return to_info(env, *sharcs_session_get_info(session_of(handle))); });
}

jobject predict(JNIEnv* env, jclass, jlong handle, jobjectArray texts, jdoubleArray budget) {
  return guarded<jobject>(env, nullptr, [&] {
    const BudgetHandle held = read_budget(env, budget);
    const std::vector<std::string> owned = read_texts(env, texts);
    const std::vector<sharcs_text> given = views(owned);
    sharcs_prediction* prediction = nullptr;
    sharcs_error* error = nullptr;
    const sharcs_status status =
        sharcs_session_predict(session_of(handle), given.data(), given.size(), held.get(), &prediction, &error);
    if (status != SHARCS_OK) raise(env, status, error);
    const PredictionHandle answer(prediction);
    return to_prediction(env, *answer, is_multi_label(session_of(handle)));
  });
}

jobjectArray predict_batch(JNIEnv* env, jclass, jlong handle, jobjectArray texts, jint count, jint batch_size,
                           jdoubleArray budget) {
  return guarded<jobjectArray>(env, nullptr, [&] {
    const BudgetHandle held = read_budget(env, budget);
    const std::vector<std::string> owned = read_texts(env, texts);
    const std::vector<sharcs_text> given = views(owned);
    std::vector<sharcs_prediction*> predictions(static_cast<std::size_t>(count));
    std::vector<PredictionHandle> answers(predictions.size());
    sharcs_error* error = nullptr;
    const sharcs_status status =
        sharcs_session_predict_batch(session_of(handle), given.data(), predictions.size(),
                                     static_cast<std::size_t>(batch_size), held.get(), predictions.data(), &error);
    if (status != SHARCS_OK) raise(env, status, error);
    for (std::size_t row = 0; row < predictions.size(); ++row) answers[row].reset(predictions[row]);
    jobjectArray found = env->NewObjectArray(count, kotlin.prediction, nullptr);
    check(env);
    for (jint row = 0; row < count; ++row) {
      env->PushLocalFrame(32);  // an answer needs a dozen references; a batch must not run out of them
      check(env);
      const PredictionHandle& answer = answers[static_cast<std::size_t>(row)];
      env->SetObjectArrayElement(found, row, to_prediction(env, *answer, is_multi_label(session_of(handle))));
      env->PopLocalFrame(nullptr);
    }
    return found;
  });
}

void verify(JNIEnv* env, jclass, jlong handle) {
  guarded<int>(env, 0, [&] {
    sharcs_error* error = nullptr;
    const sharcs_status status = sharcs_session_verify(session_of(handle), &error);
    if (status != SHARCS_OK) raise(env, status, error);
    return 0;
  });
}

void push_conditions(JNIEnv* env, jclass, jlong handle, jint known, jboolean throttled, jboolean background,
                     jdouble battery, jdouble temperature) {
  guarded<int>(env, 0, [&] {
    sharcs_conditions conditions = SHARCS_CONDITIONS_INIT;
    conditions.known = static_cast<std::uint32_t>(known);
    conditions.throttled = throttled;
    conditions.background = background;
    conditions.battery = battery;
    conditions.temperature = temperature;
    sharcs_error* error = nullptr;
    const sharcs_status status = sharcs_session_push_conditions(session_of(handle), &conditions, &error);
    if (status != SHARCS_OK) raise(env, status, error);
    return 0;
  });
}

template <typename Function>
JNINativeMethod method(const char* name, const char* signature, Function* function) {
  return {const_cast<char*>(name), const_cast<char*>(signature), reinterpret_cast<void*>(function)};
}

}  // namespace

extern "C" JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void*) {
  void* found = nullptr;
  if (vm->GetEnv(&found, JNI_VERSION_1_6) != JNI_OK) return JNI_ERR;
  auto* env = static_cast<JNIEnv*>(found);
  const JNINativeMethod methods[] = {
      method("version", "()[B", version),
      method("create", "([B[B[DIZZ)J", create),
      method("free", "(J)V", release),
      method("info", "(J)Lsharcs/edge/SessionInfo;", info),
      method("predict", "(J[[B[D)Lsharcs/edge/Prediction;", predict),
      method("predictBatch", "(J[[BII[D)[Lsharcs/edge/Prediction;", predict_batch),
      method("verify", "(J)V", verify),
      method("pushConditions", "(JIZZDD)V", push_conditions),
  };
  try {
    find_kotlin(env);
  } catch (const Pending&) {
    return JNI_ERR;
  }
  const jint count = static_cast<jint>(sizeof(methods) / sizeof(methods[0]));
  return env->RegisterNatives(kotlin.native, methods, count) == JNI_OK ? JNI_VERSION_1_6 : JNI_ERR;
}
