// What a session knows, or finds out, about its own times (SPEC.md, section 12.3).
#include <algorithm>

#include "device.h"
#include "golden.h"
#include "session.h"

namespace sharcs {
namespace {

constexpr int kTimings = 3;

}  // namespace

const LatencyTable* Session::saved() {
  if (!table_read_) {
    table_ = LatencyTable::load(artifact_);
    if (table_ && !Device::read("").is_of(table_->device)) table_.reset();
    table_read_ = true;
  }
  return table_ ? &*table_ : nullptr;
}

std::optional<double> Session::watts() {
  const LatencyTable* table = saved();
  return table == nullptr ? std::nullopt : table->watts;
}

// From latency.json; from a few runs on golden rows if that is missing, of another device or of other threads.
Forecast Session::forecast() {
  const Manifest& manifest = artifact_.manifest;
  std::vector<Macs> macs{manifest.trunk().macs};
  for (std::size_t index = 0; index < manifest.widths.size(); ++index) macs.push_back(manifest.tail(index).macs);
  std::vector<std::vector<double>> times(macs.size());
  const LatencyTable* table = saved();
  if (table != nullptr && table->threads == threads_) {
    for (std::size_t graph = 0; graph < macs.size(); ++graph) times[graph] = table->graphs[graph].mean_ms;
    return Forecast(table->lengths, times, macs);
  }
  const Golden golden = Golden::load(artifact_);
  std::size_t shortest = 0;
  std::size_t longest = 0;
  for (std::size_t row = 1; row < golden.rows(); ++row) {
    if (golden.length(row) < golden.length(shortest)) shortest = row;
    if (golden.length(row) > golden.length(longest)) longest = row;
  }
  std::vector<std::int64_t> lengths;
  for (std::size_t row : {shortest, longest}) {
    const TokenBatch tokens = golden.row(row);
    if (!lengths.empty() && lengths.back() == tokens.tokens) continue;
    lengths.push_back(tokens.tokens);
    const Tensor mask = Tensor::of(*ort_, tokens.attention_mask, {1, tokens.tokens});
    std::vector<std::vector<double>> samples(macs.size());
    for (int turn = 0; turn <= kTimings; ++turn) {  // the first one does not count
      double begin = steady_seconds();
      const TrunkOutput trunk = run_trunk(tokens);
      for (std::size_t graph = 0; graph < macs.size(); ++graph) {
        if (graph > 0) run_tail(graph - 1, trunk.hidden, mask, budget_.limits[Limits::memory_mb]);
        const double end = steady_seconds();
        if (turn > 0) samples[graph].push_back((end - begin) * 1000);
        begin = end;
      }
    }
    for (std::size_t graph = 0; graph < macs.size(); ++graph) {
      std::sort(samples[graph].begin(), samples[graph].end());
      times[graph].push_back(samples[graph][kTimings / 2]);
    }
  }
  return Forecast(lengths, times, macs);
}

}  // namespace sharcs
