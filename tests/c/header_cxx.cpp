// The header in C++98 and later, and the sizes that other languages' bindings rely on (64 bit).
#include "sharcs_edge.h"

#define SAME(name, condition) typedef char name[(condition) ? 1 : -1]
SAME(limits, sizeof(sharcs_limits) == 72);
SAME(rule, sizeof(sharcs_rule) == 72 + 16 + 32);
SAME(budget, sizeof(sharcs_budget_options) == 8 + 72 + 8 + 16);
SAME(session, sizeof(sharcs_session_options) == 48);
SAME(prediction, sizeof(sharcs_prediction) == 136);
SAME(conditions, sizeof(sharcs_conditions) == 40);

int main() {
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  return options.threads;
}
