#include "artifact.h"

#include <sys/stat.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

#include "sha256.h"

namespace sharcs {
namespace {

constexpr const char* kCure = "copy the artifact again or export it again";
constexpr const char* kExpected = "; expected an artifact folder that `sharcs-edge export` wrote";

struct Closer {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, Closer>;

[[noreturn]] void throw_unreadable(const std::string& path, int code) {
  throw_artifact("cannot read " + path + ": " + std::generic_category().message(code));
}

// Gives every piece of a file to `use`; false if there is no such file.
template <typename Use>
bool read_pieces(const std::string& path, Use use) {
  const File file(std::fopen(path.c_str(), "rbe"));
  if (!file) {
    if (errno == ENOENT || errno == ENOTDIR) return false;
    throw_unreadable(path, errno);
  }
  std::vector<char> piece(1 << 18);
  std::size_t size = 0;
  while ((size = std::fread(piece.data(), 1, piece.size(), file.get())) > 0) use(piece.data(), size);
  if (std::ferror(file.get()) != 0) throw_unreadable(path, errno);
  return true;
}

std::string resolve(const std::string& path) {
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };
  const std::unique_ptr<char, Free> real(::realpath(path.c_str(), nullptr));
  return real ? real.get() : "";
}

std::string missing_manifest(const std::string& folder) {
  struct stat status{};
  if (::stat(folder.c_str(), &status) != 0) return folder + " does not exist" + kExpected;
  if (!S_ISDIR(status.st_mode)) return folder + " is a file" + kExpected;
  return folder + " holds no " + kManifestName + kExpected;
}

void check_size(const Artifact& artifact, const FileRef& entry) {
  const std::string path = artifact.file(entry.file);
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    throw_artifact(artifact.path + ": the manifest names " + entry.file + ", which is not there: " + kCure);
  }
  const std::string real = resolve(path);
  if (real.substr(0, real.find_last_of('/')) != artifact.path && !(artifact.path == "/" && real.rfind('/') == 0)) {
    throw_artifact(artifact.path + ": " + entry.file + " is a link that leads out of the artifact: " + kCure);
  }
  if (status.st_size != entry.bytes) {
    throw_artifact(artifact.path + ": " + entry.file + " has " + std::to_string(status.st_size) +
                   " bytes, the manifest says " + std::to_string(entry.bytes) + ": it was cut off or edited; " + kCure);
  }
}

void check_hash(const Artifact& artifact, const FileRef& entry) {
  Sha256 hash;
  const bool there =
      read_pieces(artifact.file(entry.file), [&](const char* data, std::size_t size) { hash.update(data, size); });
  const std::string found = hash.finish();
  if (!there || found != entry.sha256) {
    throw_artifact(artifact.path + ": " + entry.file + " has SHA-256 " + found + ", the manifest says " + entry.sha256 +
                   ": it was damaged or edited; " + kCure);
  }
}

}  // namespace

std::optional<std::string> read_file(const std::string& path) {
  std::string data;
  const bool there = read_pieces(path, [&](const char* piece, std::size_t size) { data.append(piece, size); });
  return there ? std::optional(std::move(data)) : std::nullopt;
}

Artifact Artifact::open(const std::string& folder, bool verify_hashes) {
  const std::string manifest_file = folder + "/" + kManifestName;
  const auto data = read_file(manifest_file);
  if (!data) throw_artifact(missing_manifest(folder));
  Artifact artifact{resolve(folder), sha256(*data), Manifest::parse(*data, manifest_file)};
  const auto files = artifact.manifest.all_files();
  for (const FileRef& entry : files) check_size(artifact, entry);
  if (verify_hashes) {
    for (const FileRef& entry : files) check_hash(artifact, entry);
  }
  return artifact;
}

}  // namespace sharcs
