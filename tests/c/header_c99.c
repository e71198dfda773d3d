/* The header is plain C99, and its macros initialise whole structs. */
#include "sharcs_edge.h"

int main(void) {
  sharcs_session_options options = SHARCS_SESSION_OPTIONS_INIT;
  sharcs_budget_options budget = SHARCS_BUDGET_OPTIONS_INIT;
  sharcs_conditions conditions = SHARCS_CONDITIONS_INIT;
  return options.struct_size == sizeof options && budget.num_rules == 0 && conditions.known == 0 &&
                 sharcs_abi_version() == SHARCS_ABI_VERSION && sharcs_version()[0] != '\0' &&
                 sharcs_status_message(SHARCS_OK)[0] != '\0'
             ? 0
             : 1;
}
