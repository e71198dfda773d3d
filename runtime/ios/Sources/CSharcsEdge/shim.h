#include <sharcs_edge.h>
