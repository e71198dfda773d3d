#include "tails.h"

#include <algorithm>
#include <utility>

#include "condition_reader.h"
#include "exact_sum.h"

namespace sharcs {

Tails::Tails(const Artifact& artifact, std::shared_ptr<const Ort> ort, const GraphMemory& memory, int threads,
             double trunk_ms_per_mb)
    : artifact_(artifact), ort_(std::move(ort)), memory_(memory), threads_(threads), slots_(memory.tails.size()) {
  for (std::size_t index = 0; index < slots_.size(); ++index) slots_[index].load_ms = trunk_ms_per_mb * memory.tails[index];
}

void Tails::load_all() {
  for (std::size_t index = 0; index < slots_.size(); ++index) get(index, std::nullopt);
}

std::shared_ptr<const OrtGraph> Tails::get(std::size_t index, std::optional<double> memory_mb) {
  const std::lock_guard lock(mutex_);
  Slot& slot = slots_[index];
  const double start = steady_seconds();
  slot.used = start;
  if (memory_mb) make_room(index, *memory_mb);
  if (!slot.graph) {
    const Graph& graph = artifact_.manifest.tail(index);
    slot.graph = std::make_shared<const OrtGraph>(ort_, graph, artifact_.file(graph.file.file), threads_);
    slot.load_ms = (steady_seconds() - start) * 1000;
  }
  return slot.graph;
}

double Tails::load_ms(std::size_t index) {
  const std::lock_guard lock(mutex_);
  return slots_[index].graph ? 0.0 : slots_[index].load_ms;
}

void Tails::make_room(std::size_t index, double memory_mb) {
  const double room = memory_mb - memory_.trunk - memory_.tails[index];
  std::vector<std::size_t> others;
  std::vector<double> sizes;
  for (std::size_t other = 0; other < slots_.size(); ++other) {
    if (other == index || !slots_[other].graph) continue;
    others.push_back(other);
    sizes.push_back(memory_.tails[other]);
  }
  double taken = exact_sum(sizes);
  if (taken <= room) return;
  std::sort(others.begin(), others.end(), [&](std::size_t a, std::size_t b) { return slots_[a].used < slots_[b].used; });
  for (std::size_t other : others) {  // the least recently used first
    if (taken <= room) break;
    slots_[other].graph.reset();
    taken -= memory_.tails[other];
  }
  return_freed_memory();
}

}  // namespace sharcs
