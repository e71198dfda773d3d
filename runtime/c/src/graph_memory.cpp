#include "graph_memory.h"

#include <algorithm>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "text.h"

namespace sharcs {
namespace {

double graph_mb(const Graph& graph) {
  // A graph whose weights are in another file has as many as the multiply-accumulates of one token.
  const double bytes_per_weight = 4 - 3 * graph.matmul_coverage;
  const double weights = bytes_per_weight * static_cast<double>(graph.macs.per_row + graph.macs.per_token);
  return 1.1 * std::max(static_cast<double>(graph.file.bytes), weights) / 1048576.0 + 5.0;
}

}  // namespace

GraphMemory GraphMemory::of(const Manifest& manifest) {
  GraphMemory memory{manifest.widths, graph_mb(manifest.trunk()), {}};
  for (std::size_t index = 0; index < manifest.widths.size(); ++index) {
    memory.tails.push_back(graph_mb(manifest.tail(index)));
  }
  return memory;
}

std::size_t GraphMemory::widest(std::size_t first, std::size_t last, double memory_mb) const {
  const double room = memory_mb - trunk;
  if (tails[first] > room) {
    throw_usage("memory_mb is " + format_general(memory_mb) + ", and the trunk with " + tail_name(widths[first]) +
                " takes " + format_fixed(trunk + tails[first], 1) + " (estimated): allow at least that");
  }
  std::size_t fits = first;
  while (fits < last && tails[fits + 1] <= room) ++fits;
  return fits;
}

void return_freed_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
}

}  // namespace sharcs
