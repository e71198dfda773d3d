// The artifact folder: opening it with every file checked (SPEC.md, section 1).
#pragma once

#include <optional>
#include <string>

#include "manifest.h"

namespace sharcs {

// The bytes of a file; nothing if there is none. Throws SHARCS_ERROR_ARTIFACT if it cannot be read.
std::optional<std::string> read_file(const std::string& path);

struct Artifact {
  std::string path;  // absolute
  std::string manifest_sha256;
  Manifest manifest;

  // Throws SHARCS_ERROR_ARTIFACT naming the file, SHARCS_ERROR_MANIFEST listing every problem.
  static Artifact open(const std::string& folder, bool verify_hashes);
  std::string file(const std::string& name) const { return path + "/" + name; }
};

}  // namespace sharcs
