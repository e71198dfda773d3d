// Small files of this machine, such as /proc and /sys hold, for a host that computes the facts; and files out of its cache.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace tools {

// What those files hold that can be read, by path. In a pattern `*` stands for any name, or the rest of one.
std::map<std::string, std::string> read_files(const std::vector<std::string>& patterns);

// Drops a folder's files from the system's file cache; whether they are gone. They stay where they are in use.
bool evict_files(const std::string& folder);

// The system's C library and its version, "" if it has no name.
std::string c_library();

}  // namespace tools
