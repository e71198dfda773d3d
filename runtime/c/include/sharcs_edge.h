/* SHARCS Edge on the device: load an artifact, answer texts with no more compute than each of them needs.
 *
 * This header is the manual of the C runtime. What an artifact holds, and how a width is chosen, is in runtime/SPEC.md.
 *
 *     #include <sharcs_edge.h>
 *
 *     sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
 *     sharcs_session *session = NULL;
 *     sharcs_error *error = NULL;
 *     if (sharcs_session_create("artifact", &options, &session, &error) != SHARCS_OK) {
 *       fprintf(stderr, "%s\n", sharcs_error_message(error));
 *       sharcs_error_free(error);
 *       return 1;
 *     }
 *     sharcs_text text = {"turn on the light", 17};
 *     sharcs_prediction *answer = NULL;
 *     if (sharcs_session_predict(session, &text, 1, NULL, &answer, NULL) == SHARCS_OK) {
 *       printf("%s %.3f (width %g)\n", answer->label, answer->score, answer->width);
 *       sharcs_prediction_free(answer);
 *     }
 *     sharcs_session_free(session);
 *
 * Ownership. What a `..._create` or `..._predict` function puts into its `out` belongs to the caller, who gives it to the
 * matching `..._free`; each `..._free` takes NULL. The library copies what it is given and keeps no pointer of the
 * caller. Pointers inside a struct live as long as that struct.
 *
 * Errors. A function that can fail returns a `sharcs_status`; then `*out` is NULL and, unless `error` is NULL, `*error`
 * holds a message of one sentence: what was given, what was expected, the cure. If memory is short, `*error` may be NULL
 * as well; `sharcs_status_message` says what every status means. On success `*error` is NULL. Nothing here ends the
 * process, prints, throws, or falls back to another model, width or device without saying so.
 *
 * Threads. Every function may be called from any thread. A session and a budget may be used by any number of threads at
 * the same time; predictions and errors never change, so that any thread may read them. Only `..._free` must be called
 * once, after the last use. The library holds no state outside its objects and changes no setting of the process but the
 * one below. With `threads` 1 the calling thread computes and the library starts none. No lock is held while a graph
 * runs for an input; while graphs are loaded, or timed for a deadline, other inputs of the session may have to wait.
 *
 * Structs that the caller fills begin with `struct_size`, which the ..._INIT macros set: a newer library then knows which
 * fields an older program had, and an older library refuses what it does not know, unless it is 0. Fields are only ever
 * added at the end; sharcs_text, sharcs_limits and sharcs_rule stay as they are. Zero always means "as usual" or "no
 * limit", and fields named `reserved` must be 0. Structs that the library fills begin with the size that it filled.
 *
 * ONNX Runtime (1.20 or newer) is loaded when a session is created: the app brings its own. Microsoft's builds from 1.29 on
 * send usage data to Microsoft. The library turns these events off for the process; only the environment variable
 * ORT_DISABLE_TELEMETRY=1, set before ONNX Runtime is loaded, or a build with --no_telemetry keeps it from starting its
 * sending thread and from the event of its start.
 */
#ifndef SHARCS_EDGE_H
#define SHARCS_EDGE_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define SHARCS_API
#else
#define SHARCS_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Versions ---- */

/* Version of the library that runs, such as "0.1.0"; a constant string. */
SHARCS_API const char *sharcs_version(void);
/* Number of this interface: it changes when a program must be compiled anew. The function says that of the library that
 * runs, the constant that of this header. */
#define SHARCS_ABI_VERSION 1
SHARCS_API int32_t sharcs_abi_version(void);

/* ---- Errors ---- */

/* 0: fine. The hundreds say whose the fault is. A command line tool ends with 2 for 300 to 399, 3 for 400 to 499, else 1. */
typedef int32_t sharcs_status;
enum {
  SHARCS_OK = 0,
  /* 100 to 199: the artifact. */
  SHARCS_ERROR_ARTIFACT = 100, /* missing, incomplete, damaged, or its results are not finite */
  SHARCS_ERROR_DOCUMENT = 101, /* operating_points.json or latency.json breaks the specification */
  SHARCS_ERROR_MANIFEST = 102, /* manifest.json breaks the specification */
  /* 200 to 299: the input. */
  SHARCS_ERROR_INPUT = 200, /* a text that cannot be processed */
  /* 300 to 399: the call. */
  SHARCS_ERROR_USAGE = 300, /* an argument, or a budget that cannot be or that needs what the artifact lacks */
  SHARCS_ERROR_WIDTH = 301, /* a width that the artifact does not have, or limits that leave no width */
  /* 400 to 499: a check that did not pass. */
  SHARCS_ERROR_PARITY = 400, /* the artifact does not agree with torch on this machine */
  /* 500 to 599: what the library stands on. */
  SHARCS_ERROR_OUT_OF_MEMORY = 500,
  SHARCS_ERROR_ENGINE = 501,  /* ONNX Runtime is missing, too old, or failed */
  SHARCS_ERROR_INTERNAL = 599 /* a fault of this library: please report it */
};

/* What a status means, as a constant string; never NULL. */
SHARCS_API const char *sharcs_status_message(sharcs_status status);

typedef struct sharcs_error sharcs_error;
/* The message, "" for NULL. It lives until the error is freed. */
SHARCS_API const char *sharcs_error_message(const sharcs_error *error);
SHARCS_API void sharcs_error_free(sharcs_error *error);

/* ---- Budgets ---- */

/* Limits on each input, or on the mean over inputs (SPEC.md, section 11); 0 is no limit. */
typedef struct sharcs_limits {
  double width;       /* run this width; excludes min_width and max_width */
  double min_width;   /* run no narrower one, in (0, 1] */
  double max_width;   /* run no wider one, in (0, 1] */
  double mean_ms;     /* mean wall time per input; needs operating points */
  double deadline_ms; /* wall time of each input */
  double memory_mb;   /* estimated private memory of the loaded graphs, in MB of 2^20 bytes */
  double energy_mj;   /* mean millijoules per input, an estimate; needs operating points and watts */
  double max_drop;    /* with has_max_drop: loss against the full width that calibration ruled out, 0 to 1 */
  int32_t has_max_drop;
  int32_t reserved; /* 0 */
} sharcs_limits;

/* What a rule may ask about the device. */
enum {
  SHARCS_HAS_BATTERY_BELOW = 1,
  SHARCS_HAS_BATTERY_ABOVE = 2,
  SHARCS_HAS_TEMPERATURE_BELOW = 4,
  SHARCS_HAS_TEMPERATURE_ABOVE = 8,
  SHARCS_HAS_THROTTLED = 16,
  SHARCS_HAS_BACKGROUND = 32
};

/* Limits that hold as well while ALL the conditions named by `conditions` do. One that is unknown does not hold. */
typedef struct sharcs_rule {
  sharcs_limits limits; /* at least one */
  uint32_t conditions;  /* SHARCS_HAS_..., at least one */
  int32_t throttled;    /* 0 or 1: holds while the device says the same */
  int32_t background;
  int32_t reserved;     /* 0 */
  double battery_below; /* share of the charge, 0 to 1; below and above exclude the limit itself */
  double battery_above;
  double temperature_below; /* of the hottest thermal zone, degrees Celsius */
  double temperature_above;
} sharcs_rule;

typedef struct sharcs_budget_options {
  size_t struct_size;
  sharcs_limits limits;
  double watts;             /* what the device draws while it computes; 0: what latency.json says */
  const sharcs_rule *rules; /* NULL if there are none */
  size_t num_rules;
} sharcs_budget_options;
#define SHARCS_BUDGET_OPTIONS_INIT \
  { sizeof(sharcs_budget_options), {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, NULL, 0 }

/* A budget that was checked. Equal ones are one budget: their mean is held over the inputs of all of them. It belongs to no
 * session; what an artifact cannot hold is said when a session first gets it. */
typedef struct sharcs_budget sharcs_budget;
/* Fails with SHARCS_ERROR_USAGE for a value out of its range, SHARCS_ERROR_WIDTH for limits that leave no width. */
SHARCS_API sharcs_status sharcs_budget_create(const sharcs_budget_options *options, sharcs_budget **out,
                                              sharcs_error **error);
SHARCS_API void sharcs_budget_free(sharcs_budget *budget);

/* ---- Sessions ---- */

typedef struct sharcs_session sharcs_session;

typedef struct sharcs_session_options {
  size_t struct_size;
  /* Name or path of ONNX Runtime's library; NULL: the one that is in the process, else the system's usual name. */
  const char *onnxruntime;
  /* Instead: what OrtGetApiBase() of the app's own ONNX Runtime returns, for one that is linked statically. */
  const void *ort_api_base;
  const sharcs_budget *budget; /* of predictions that bring none; NULL: no limit. Copied. */
  int32_t threads;             /* that compute one prediction, the caller's included; 0 is 1 */
  int32_t skip_hashes;         /* 1: check that files are there and have their sizes, not their SHA-256 */
  int32_t uncalibrated;        /* 1: route without the artifact's operating points */
  int32_t reserved;            /* 0 */
} sharcs_session_options;
#define SHARCS_SESSION_OPTIONS_INIT \
  { sizeof(sharcs_session_options), NULL, NULL, NULL, 0, 0, 0, 0 }

/* Open an artifact folder, check its files, load its tokenizer and graphs: best in the background, for it reads and hashes
 * all of them. `options` may be NULL. The folder must stay as it is while the session lives: graphs may be loaded later.
 * Fails with SHARCS_ERROR_ARTIFACT, _DOCUMENT, _MANIFEST, _USAGE, _WIDTH (the budget) or _ENGINE. */
SHARCS_API sharcs_status sharcs_session_create(const char *artifact, const sharcs_session_options *options,
                                               sharcs_session **out, sharcs_error **error);
SHARCS_API void sharcs_session_free(sharcs_session *session);

enum { SHARCS_CLASSIFICATION = 1, SHARCS_MULTI_LABEL = 2, SHARCS_REGRESSION = 3 };

/* What the artifact is; it lives as long as the session and never changes. */
typedef struct sharcs_session_info {
  size_t struct_size;
  const char *family;
  const double *widths; /* ascending */
  size_t num_widths;
  const char *const *labels; /* in the order of the logits; of a regression the name of its value */
  size_t num_labels;
  int32_t task;        /* SHARCS_CLASSIFICATION, ... */
  int32_t text_inputs; /* texts per input: 1 or 2 */
  int32_t max_length;  /* tokens per input, special tokens included; longer inputs are cut */
  int32_t num_points;  /* operating points; 0: not calibrated */
  const char *onnxruntime_version;
} sharcs_session_info;
/* NULL for NULL. */
SHARCS_API const sharcs_session_info *sharcs_session_get_info(const sharcs_session *session);

/* ---- Predictions ---- */

/* UTF-8 text of `size` bytes, which need not end in a NUL and may hold some. */
typedef struct sharcs_text {
  const char *data;
  size_t size;
} sharcs_text;

/* Why a width answered. */
enum {
  SHARCS_REASON_ROUTER = 1,
  SHARCS_REASON_EXPLICIT = 2,
  SHARCS_REASON_ONLY_WIDTH = 3,
  SHARCS_REASON_ESCALATED = 4,
  SHARCS_REASON_MIN_WIDTH = 5,
  SHARCS_REASON_MAX_WIDTH = 6,
  SHARCS_REASON_MEMORY = 7,
  SHARCS_REASON_DEADLINE = 8
};
/* "router", "explicit", ..., as a constant string; "unknown" for another number. */
SHARCS_API const char *sharcs_reason_name(int32_t reason);

/* The answer for one input (SPEC.md, section 8). What the task does not have is NULL, NaN, -1 or 0 as said. */
typedef struct sharcs_prediction {
  size_t struct_size;        /* that the library filled */
  const char *label;         /* classification, else NULL */
  int32_t label_index;       /* classification, else -1 */
  int32_t reason;            /* SHARCS_REASON_... */
  double score;              /* classification: the label's probability, else NaN */
  double value;              /* regression, else NaN */
  const char *const *labels; /* multi-label: those that hold, in the manifest's order */
  size_t num_labels;
  const double *scores; /* of all labels: their softmax, or for multi-label each by itself; NULL for regression */
  size_t num_scores;
  double confidence; /* of the answer, 0 to 1; NaN where there is none */
  double width;      /* of the tail that answered */
  const double *ran; /* the widths whose tails ran, in order; the last one answered */
  size_t num_ran;
  int32_t point;       /* index of the operating point that decided; -1: none */
  int32_t budget_met;  /* 1 yes, 0 no, -1: there was no limit on time or drop */
  double milliseconds; /* wall time, tokenization included */
  int64_t tokens;      /* that were processed, special tokens included */
  int32_t truncated;   /* 1: the text was longer and was cut */
  int32_t reserved;
} sharcs_prediction;

/* Answer one input: `texts` are the artifact's `text_inputs` texts (`num_texts` says how many are given).
 * `budget`: NULL for the session's. The first prediction under a deadline may time the graphs first, for some runs of each.
 * Fails with SHARCS_ERROR_INPUT for a text that is empty, only white space or not UTF-8, or a wrong number of texts; _USAGE
 * or _WIDTH for a budget that this artifact cannot hold; _ARTIFACT if a graph is damaged, _ENGINE if ONNX Runtime fails. */
SHARCS_API sharcs_status sharcs_session_predict(sharcs_session *session, const sharcs_text *texts, size_t num_texts,
                                                const sharcs_budget *budget, sharcs_prediction **out,
                                                sharcs_error **error);
SHARCS_API void sharcs_prediction_free(sharcs_prediction *prediction);

/* Answer `count` inputs at once; `texts` holds those of one input after the other, count * text_inputs in all. `out` has
 * room for `count` predictions, each to be freed by itself; after a failure all are NULL. Rows of like length share a
 * trunk run of at most `batch_size` (0: 32). All texts are checked before the first is computed. `count` may be 0.
 * Fails as sharcs_session_predict does; the message names the text by its place, from 0. */
SHARCS_API sharcs_status sharcs_session_predict_batch(sharcs_session *session, const sharcs_text *texts, size_t count,
                                                      size_t batch_size, const sharcs_budget *budget,
                                                      sharcs_prediction **out, sharcs_error **error);

/* Run the artifact's golden texts on this machine, every width of each, and compare with torch's answers (SPEC.md,
 * section 7): SHARCS_OK, or SHARCS_ERROR_PARITY with a message that names graph, number, limit and row of each failure.
 * Fails with SHARCS_ERROR_ARTIFACT for golden texts that cannot be read, and as a prediction does. Takes seconds, and loads
 * every graph whatever the session's memory_mb. */
SHARCS_API sharcs_status sharcs_session_verify(sharcs_session *session, sharcs_error **error);

/* ---- Conditions of the device ---- */

/* How the device is doing. What is not named by `known` is read from the system where it offers it (Linux and Android:
 * /sys), and only if a rule asks for it. */
enum {
  SHARCS_KNOWN_BATTERY = 1,
  SHARCS_KNOWN_TEMPERATURE = 2,
  SHARCS_KNOWN_THROTTLED = 4,
  SHARCS_KNOWN_BACKGROUND = 8
};
typedef struct sharcs_conditions {
  size_t struct_size;
  uint32_t known;
  int32_t throttled;  /* 0 or 1 */
  int32_t background; /* 0 or 1 */
  int32_t reserved;   /* 0 */
  double battery;     /* 0 to 1 */
  double temperature; /* degrees Celsius */
} sharcs_conditions;
#define SHARCS_CONDITIONS_INIT \
  { sizeof(sharcs_conditions), 0, 0, 0, 0, 0, 0 }

/* Say how the device is doing: what `known` names counts until the next call, which replaces all of it, for inputs that
 * begin after this call. Fails with SHARCS_ERROR_USAGE for a value out of its range. */
SHARCS_API sharcs_status sharcs_session_push_conditions(sharcs_session *session, const sharcs_conditions *conditions,
                                                        sharcs_error **error);

#ifdef __cplusplus
}
#endif

#endif /* SHARCS_EDGE_H */
