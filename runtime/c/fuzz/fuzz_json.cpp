// The artifact's JSON files: any bytes are read or refused.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "latency.h"
#include "manifest.h"
#include "operating_points.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const sharcs::Manifest manifest = sharcs::Manifest::parse(text, "manifest.json");
    manifest.all_files();
    manifest.hidden_size();
    for (std::size_t index = 0; index < manifest.widths.size(); ++index) manifest.tail(index);
  } catch (const sharcs::Error&) {
  }
  try {
    sharcs::OperatingPoints::parse(text, "operating_points.json").default_point();
  } catch (const sharcs::Error&) {
  }
  try {
    sharcs::LatencyTable::parse(text, "latency.json");
  } catch (const sharcs::Error&) {
  }
  return 0;
}
