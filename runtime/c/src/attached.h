// JSON files that measuring commands add to an artifact, each bound to its manifest by hash (SPEC.md, section 1).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "artifact.h"
#include "error.h"
#include "json.h"

namespace sharcs {

// What such a file is: its name, its schema version, the command that writes it, and the cure of its faults.
struct AttachedKind {
  const char* name;
  std::int64_t version;
  const char* command;
  const char* cure;
};

// Decodes a document and refuses a newer one; throws SHARCS_ERROR_DOCUMENT.
json::Value decode_attached(const AttachedKind& kind, std::string_view data, const std::string& source);
void throw_if_any(const AttachedKind& kind, const std::string& source, const Problems& problems);
// Throws SHARCS_ERROR_ARTIFACT if the file was made for another manifest.
void check_binding(const AttachedKind& kind, const std::string& source, const std::string& manifest_sha256,
                   const Artifact& artifact);

// The file of an artifact, nothing if it has none.
template <typename Attached>
std::optional<Attached> load_attached(const AttachedKind& kind, const Artifact& artifact) {
  const std::string path = artifact.file(kind.name);
  const auto data = read_file(path);
  if (!data) return std::nullopt;
  Attached found = Attached::parse(*data, path);
  check_binding(kind, path, found.manifest_sha256, artifact);
  Problems problems;
  found.check_fit(artifact.manifest, problems);
  throw_if_any(kind, path, problems);
  return found;
}

}  // namespace sharcs
