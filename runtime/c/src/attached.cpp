#include "attached.h"

#include <stdexcept>

#include "version.h"

namespace sharcs {

json::Value decode_attached(const AttachedKind& kind, std::string_view data, const std::string& source) {
  try {
    json::Value document = json::decode(data);
    refuse_newer_schema(document, kind.version, source, kind.command, SHARCS_ERROR_DOCUMENT);
    return document;
  } catch (const std::invalid_argument& error) {
    throw_document(SHARCS_ERROR_DOCUMENT, source, {"it is not UTF-8 JSON (" + std::string(error.what()) + ") @ $"},
                   kind.cure);
  }
}

void throw_if_any(const AttachedKind& kind, const std::string& source, const Problems& problems) {
  if (!problems.empty()) throw_document(SHARCS_ERROR_DOCUMENT, source, problems, kind.cure);
}

void check_binding(const AttachedKind& kind, const std::string& source, const std::string& manifest_sha256,
                   const Artifact& artifact) {
  if (manifest_sha256 == artifact.manifest_sha256) return;
  throw_artifact(source + " was made for another artifact: for the manifest " + manifest_sha256.substr(0, 12) +
                 "..., and this one has the SHA-256 " + artifact.manifest_sha256.substr(0, 12) + "...; " + kind.cure);
}

}  // namespace sharcs
