#include "device.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>

#include "device_names.h"

namespace sharcs {
namespace {

std::string trimmed(const std::string& text) {
  const char* blanks("\0 \t\r\n");
  const std::string all(blanks, 5);
  const std::size_t begin = text.find_first_not_of(all);
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(all) + 1 - begin);
}

// A small file's text without surrounding blanks and NULs; "" where it cannot be read.
std::string text_of(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "rbe"));
  if (!file) return "";
  std::string text;
  char piece[4096];
  std::size_t size = 0;
  while ((size = std::fread(piece, 1, sizeof piece, file.get())) > 0) text.append(piece, size);
  return trimmed(text);
}

std::optional<std::int64_t> integer_of(const std::string& text, int base = 10) {
  char* end = nullptr;
  errno = 0;
  const long long value = std::strtoll(text.c_str(), &end, base);
  if (text.empty() || *end != '\0' || errno != 0) return std::nullopt;
  return value;
}

// The entries of a folder whose names begin with `prefix`, sorted.
std::vector<std::string> entries(const std::string& folder, const std::string& prefix) {
  struct Closer {
    void operator()(DIR* open) const { closedir(open); }
  };
  std::vector<std::string> found;
  const std::unique_ptr<DIR, Closer> open(opendir(folder.c_str()));
  if (!open) return found;
  while (const dirent* entry = readdir(open.get())) {
    const std::string name = entry->d_name;
    if (name[0] != '.' && name.compare(0, prefix.size(), prefix) == 0) found.push_back(folder + "/" + name);
  }
  std::sort(found.begin(), found.end());
  return found;
}

using Processor = std::map<std::string, std::string>;

// One mapping per processor of /proc/cpuinfo.
std::vector<Processor> processors(const std::string& root) {
  std::vector<Processor> found;
  Processor block;
  const auto close = [&] {
    if (block.count("processor") > 0) found.push_back(block);
    block.clear();
  };
  const std::string text = text_of(root + "/proc/cpuinfo");
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t colon = line.find(':');
    if (line.empty()) close();
    if (colon != std::string::npos) block[trimmed(line.substr(0, colon))] = trimmed(line.substr(colon + 1));
    begin = end + 1;
  }
  close();
  return found;
}

std::string part_of(const Processor& processor) {
  const auto value = [&](const char* key) {
    const auto found = processor.find(key);
    return found == processor.end() ? std::string() : found->second;
  };
  const std::string part = value("CPU part");
  if (part.empty()) return value("model name");
  const std::string maker = value("CPU implementer");
  const char* name = arm_part_name(maker, part);
  return name != nullptr ? name : "implementer " + maker + " part " + part;
}

std::string model_of(const std::string& root) {
  for (const char* path : {"/proc/device-tree/model", "/sys/firmware/devicetree/base/model"}) {
    const std::string text = text_of(root + path);
    if (!text.empty()) return text;
  }
  const std::string maker = text_of(root + "/sys/devices/virtual/dmi/id/sys_vendor");
  const std::string product = text_of(root + "/sys/devices/virtual/dmi/id/product_name");
  const std::string both = maker.empty() ? product : product.empty() ? maker : maker + " " + product;
  return both.empty() ? "unavailable" : both;
}

bool holds(const json::Value& facts, const char* key, const std::string& text) {
  const json::Value* found = facts.find(key);
  return found != nullptr && found->as<std::string>() != nullptr && *found->as<std::string>() == text;
}

}  // namespace

Device Device::read(const std::string& root) {
  Device device;
  device.model = model_of(root);
  utsname system{};
  device.machine = uname(&system) == 0 && system.machine[0] != '\0' ? system.machine : "unavailable";
  const auto all = processors(root);
  for (const Processor& processor : all) {
    const std::string name = part_of(processor);
    if (name.empty()) continue;
    const auto known =
        std::find_if(device.parts.begin(), device.parts.end(), [&](const auto& part) { return part.first == name; });
    if (known == device.parts.end()) {
      device.parts.emplace_back(name, 1);
    } else {
      ++known->second;
    }
  }
  device.cores = all.empty() ? sysconf(_SC_NPROCESSORS_CONF) : static_cast<std::int64_t>(all.size());
  return device;
}

bool Device::is_of(const json::Value& facts) const {
  const json::Value* count = facts.find("cores");
  if (!holds(facts, "model", model) || !holds(facts, "machine", machine) || count == nullptr ||
      count->as<std::int64_t>() == nullptr || *count->as<std::int64_t>() != cores) {
    return false;
  }
  if (parts.empty()) return holds(facts, "cpu", "unavailable");
  const json::Value* cpu = facts.find("cpu");
  const auto* kinds = cpu == nullptr ? nullptr : cpu->as<json::Array>();
  if (kinds == nullptr || kinds->size() != parts.size()) return false;
  for (std::size_t index = 0; index < parts.size(); ++index) {
    const json::Value* number = (*kinds)[index].find("count");
    const auto* integer = number == nullptr ? nullptr : number->as<std::int64_t>();
    if (!holds((*kinds)[index], "part", parts[index].first) || integer == nullptr || *integer != parts[index].second) {
      return false;
    }
  }
  return true;
}

std::optional<double> read_battery(const std::string& root) {
  std::int64_t sum = 0;
  std::int64_t count = 0;
  for (const std::string& supply : entries(root + "/sys/class/power_supply", "")) {
    if (text_of(supply + "/type") != "Battery" || text_of(supply + "/scope") == "Device") continue;
    if (const auto charge = integer_of(text_of(supply + "/capacity"))) sum += *charge, ++count;
  }
  if (count == 0) return std::nullopt;
  return static_cast<double>(sum) / static_cast<double>(count) / 100;
}

std::optional<double> read_temperature(const std::string& root) {
  std::optional<double> hottest;
  for (const std::string& zone : entries(root + "/sys/class/thermal", "thermal_zone")) {
    const auto reading = integer_of(text_of(zone + "/temp"));
    if (!reading) continue;
    const double celsius = static_cast<double>(*reading) / 1000;
    hottest = hottest ? std::max(*hottest, celsius) : celsius;
  }
  return hottest;
}

std::optional<bool> read_background(const std::string& root) {
  const std::string cpuset = text_of(root + "/proc/self/cpuset");  // Android puts processes into these
  if (cpuset == "/background" || cpuset == "/system-background" || cpuset == "/restricted") return true;
  return getpriority(PRIO_PROCESS, 0) > 0;
}

std::optional<bool> read_throttled(const std::string& root, std::optional<std::int64_t>& events) {
  std::optional<bool> throttled;
  const auto sign = [&](bool held) { throttled = throttled.value_or(false) || held; };
  // The Raspberry Pi's firmware: the low four bits are of this moment.
  if (const auto bits = integer_of(text_of(root + "/sys/devices/platform/soc/soc:firmware/get_throttled"), 16)) {
    sign((*bits & 15) != 0);
  }
  for (const std::string& device : entries(root + "/sys/class/thermal", "cooling_device")) {
    const std::string type = text_of(device + "/type");
    if (type.find("cpufreq") == std::string::npos && type != "Processor") continue;
    sign(integer_of(text_of(device + "/cur_state")).value_or(0) != 0);
  }
  std::optional<std::int64_t> count;
  for (const std::string& cpu : entries(root + "/sys/devices/system/cpu", "cpu")) {
    if (std::isdigit(static_cast<unsigned char>(cpu[cpu.rfind('/') + 4])) == 0) continue;
    const auto found = integer_of(text_of(cpu + "/thermal_throttle/core_throttle_count"));
    if (found) count = count.value_or(0) + *found;
  }
  if (count) {
    sign(events && *count > *events);
    events = count;
  }
  return throttled;
}

}  // namespace sharcs
