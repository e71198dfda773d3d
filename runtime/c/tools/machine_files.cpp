#include "machine_files.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#elif defined(__ANDROID__)
#include <android/api-level.h>
#endif

namespace tools {
namespace {

namespace fs = std::filesystem;

// The paths below `folder` that the parts of a pattern from `part` on match.
void find(const fs::path& folder, const fs::path& pattern, fs::path::iterator part, std::vector<fs::path>& found) {
  if (part == pattern.end()) {
    found.push_back(folder);
    return;
  }
  const std::string name = part->string();
  ++part;
  if (name.empty() || name.back() != '*') {
    find(folder / name, pattern, part, found);
    return;
  }
  const std::string prefix = name.substr(0, name.size() - 1);
  std::error_code ignored;
  std::vector<fs::path> entries;
  for (fs::directory_iterator entry(folder, ignored); !ignored && entry != fs::directory_iterator();
       entry.increment(ignored)) {
    if (entry->path().filename().string().compare(0, prefix.size(), prefix) == 0) entries.push_back(entry->path());
  }
  std::sort(entries.begin(), entries.end());
  for (const fs::path& entry : entries) find(entry, pattern, part, found);
}

bool evict_file(const fs::path& file) {
#if defined(RWF_NOWAIT) && (!defined(__ANDROID__) || __ANDROID_API__ >= 33)  // Android's preadv2 is as young
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  fsync(descriptor);  // what is not on the disk yet cannot be dropped
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  char byte = 0;
  iovec place{&byte, 1};
  // Answers only from the cache; from an empty file there is nothing to read.
  const ssize_t size = preadv2(descriptor, &place, 1, 0, RWF_NOWAIT);
  const bool gone = size == 0 || (size < 0 && errno == EAGAIN);
  close(descriptor);
  return gone;
#else
  static_cast<void>(file);
  return false;
#endif
}

}  // namespace

std::map<std::string, std::string> read_files(const std::vector<std::string>& patterns) {
  std::map<std::string, std::string> files;
  for (const std::string& text : patterns) {
    const fs::path pattern(text);
    std::vector<fs::path> found;
    find(fs::path(), pattern, pattern.begin(), found);
    for (const fs::path& path : found) {
      std::ifstream stream(path, std::ios::binary);
      std::string content{std::istreambuf_iterator<char>(stream), {}};
      if (stream && !content.empty()) files[path.string()] = std::move(content);
    }
  }
  return files;
}

bool evict_files(const std::string& folder) {
  bool gone = true;
  std::error_code failed;
  for (fs::directory_iterator entry(folder, failed); !failed && entry != fs::directory_iterator(); entry.increment(failed)) {
    if (entry->is_regular_file(failed)) gone = evict_file(entry->path()) && gone;
  }
  return gone && !failed;
}

std::string c_library() {
#if defined(__GLIBC__)
  return std::string("glibc ") + gnu_get_libc_version();
#elif defined(__ANDROID__)
  return "bionic of API " + std::to_string(android_get_device_api_level());
#else
  return "";
#endif
}

}  // namespace tools
