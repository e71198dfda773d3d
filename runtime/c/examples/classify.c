/* Classifies the texts of its command line: classify ARTIFACT TEXT... */
#include <sharcs_edge.h>
#include <stdio.h>
#include <string.h>

static int fail(sharcs_status status, sharcs_error *error) {
  fprintf(stderr, "%s\n", error != NULL ? sharcs_error_message(error) : sharcs_status_message(status));
  sharcs_error_free(error);
  return 1;
}

int main(int argc, char **argv) {
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  sharcs_session *session = NULL;
  sharcs_error *error = NULL;
  sharcs_status status;
  int index;

  if (argc < 3) {
    fprintf(stderr, "usage: classify ARTIFACT TEXT...\n");
    return 2;
  }
  status = sharcs_session_create(argv[1], &options, &session, &error);
  if (status != SHARCS_OK) return fail(status, error);
  for (index = 2; index < argc; ++index) {
    sharcs_text text;
    sharcs_prediction *answer = NULL;
    text.data = argv[index];
    text.size = strlen(argv[index]);
    status = sharcs_session_predict(session, &text, 1, NULL, &answer, &error);
    if (status != SHARCS_OK) {
      sharcs_session_free(session);
      return fail(status, error);
    }
    printf("%s %.3f (width %g, %s)\n", answer->label, answer->score, answer->width, sharcs_reason_name(answer->reason));
    sharcs_prediction_free(answer);
  }
  sharcs_session_free(session);
  return 0;
}
