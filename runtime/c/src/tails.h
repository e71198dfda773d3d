// The tails in memory: all of them, or those that a memory limit leaves room for (SPEC.md, section 9).
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "artifact.h"
#include "graph_memory.h"
#include "ort.h"

namespace sharcs {

// Loads a tail when it is first asked for, and drops the least recently used ones to hold a limit. Thread-safe; a tail
// that was dropped while another thread runs it lives until that run ends.
class Tails {
 public:
  // `trunk_ms_per_mb`: how long the trunk took to load, for the first guess of `load_ms`. The references must outlive it.
  Tails(const Artifact& artifact, std::shared_ptr<const Ort> ort, const GraphMemory& memory, int threads,
        double trunk_ms_per_mb);

  void load_all();
  // The tail of the width `index`. `memory_mb`: for the trunk and all loaded tails; others are dropped for it.
  std::shared_ptr<const OrtGraph> get(std::size_t index, std::optional<double> memory_mb);
  // What `get` is expected to spend on loading: 0 for a tail in memory.
  double load_ms(std::size_t index);

 private:
  struct Slot {
    std::shared_ptr<const OrtGraph> graph;
    double used = 0;  // when it was asked for, for the last time
    double load_ms = 0;
  };
  void make_room(std::size_t index, double memory_mb);

  const Artifact& artifact_;
  std::shared_ptr<const Ort> ort_;
  const GraphMemory& memory_;
  const int threads_;
  std::mutex mutex_;
  std::vector<Slot> slots_;
};

}  // namespace sharcs
