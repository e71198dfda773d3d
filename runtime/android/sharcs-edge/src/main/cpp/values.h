// Values on their way between Kotlin and the C runtime.
#ifndef SHARCS_EDGE_JNI_VALUES_H
#define SHARCS_EDGE_JNI_VALUES_H

#include <jni.h>
#include <sharcs_edge.h>

#include <memory>
#include <string>
#include <vector>

namespace sharcs_jni {

// A Java exception waits in the JNIEnv: return to Java.
struct Pending {};
void check(JNIEnv* env);

// What of Kotlin is called from here; found when the library is loaded, and valid until the process ends.
struct Kotlin {
  jclass native;  // sharcs.edge.Native
  jclass bytes;   // byte[]
  jclass prediction;
  jmethodID make_exception;
  jmethodID make_info;
  jmethodID make_prediction;
};
extern Kotlin kotlin;
void find_kotlin(JNIEnv* env);

// Raise what the status and the message say, as a class of SharcsEdgeException.
[[noreturn]] void raise(JNIEnv* env, sharcs_status status, const char* message);
// The same, freeing `error`, which may be null.
[[noreturn]] void raise(JNIEnv* env, sharcs_status status, sharcs_error* error);

std::string read_bytes(JNIEnv* env, jbyteArray bytes);
std::vector<std::string> read_texts(JNIEnv* env, jobjectArray texts);

struct BudgetDeleter {
  void operator()(sharcs_budget* budget) const { sharcs_budget_free(budget); }
};
using BudgetHandle = std::unique_ptr<sharcs_budget, BudgetDeleter>;
// What Budget.wire() wrote; null gives null.
BudgetHandle read_budget(JNIEnv* env, jdoubleArray wire);

jbyteArray to_bytes(JNIEnv* env, const char* text);
jobject to_info(JNIEnv* env, const sharcs_session_info& info);
jobject to_prediction(JNIEnv* env, const sharcs_prediction& prediction, bool multi_label);

}  // namespace sharcs_jni

#endif
