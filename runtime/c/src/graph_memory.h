// How much private memory a graph takes, estimated from its file (SPEC.md, section 9).
#pragma once

#include <cstddef>
#include <vector>

#include "manifest.h"

namespace sharcs {

// In MB of 2^20 bytes; `tails`: one per width, ascending.
struct GraphMemory {
  std::vector<double> widths;
  double trunk = 0;
  std::vector<double> tails;

  static GraphMemory of(const Manifest& manifest);
  // The last of the widths `first` to `last` up to which each tail fits beside the trunk; throws SHARCS_ERROR_USAGE, with
  // the number that is needed, if not even the first one does.
  std::size_t widest(std::size_t first, std::size_t last, double memory_mb) const;
};

// Hands freed memory back to the system, where the C library would keep it.
void return_freed_memory();

}  // namespace sharcs
