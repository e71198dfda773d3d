// Command line arguments: --name VALUE, --flag, and the rest in order.
#pragma once

#include <cstdlib>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace tools {

// A fault of the user, who gets the message and exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Before ONNX Runtime is loaded: its official builds would start a thread that sends usage data.
inline void disable_telemetry() { setenv("ORT_DISABLE_TELEMETRY", "1", 0); }

class Arguments {
 public:
  void text(const std::string& name, std::string& to) {
    valued_[name] = [&to](const std::string& value) { to = value; };
  }
  void number(const std::string& name, double& to) {
    valued_[name] = [name, &to](const std::string& value) {
      char* end = nullptr;
      to = std::strtod(value.c_str(), &end);
      if (value.empty() || *end != '\0') throw UsageError(name + " is '" + value + "'; expected a number");
    };
  }
  void count(const std::string& name, int& to) {
    valued_[name] = [name, &to](const std::string& value) {
      char* end = nullptr;
      const long found = std::strtol(value.c_str(), &end, 10);
      if (value.empty() || *end != '\0' || found < 1 || found > 1000000) {
        throw UsageError(name + " is '" + value + "'; expected an integer of at least 1");
      }
      to = static_cast<int>(found);
    };
  }
  void flag(const std::string& name, bool& to) { flags_[name] = &to; }

  // The arguments that are no options, in order.
  std::vector<std::string> parse(int argc, char** argv) const {
    std::vector<std::string> rest;
    bool options = true;
    for (int index = 1; index < argc; ++index) {
      const std::string argument = argv[index];
      if (!options || argument.compare(0, 2, "--") != 0) {
        rest.push_back(argument);
      } else if (argument == "--") {
        options = false;
      } else if (const auto flag = flags_.find(argument); flag != flags_.end()) {
        *flag->second = true;
      } else if (const auto valued = valued_.find(argument); valued != valued_.end()) {
        if (index + 1 == argc) throw UsageError(argument + " needs a value");
        valued->second(argv[++index]);
      } else {
        throw UsageError("there is no option " + argument + "; see --help");
      }
    }
    return rest;
  }

 private:
  std::map<std::string, std::function<void(const std::string&)>> valued_;
  std::map<std::string, bool*> flags_;
};

}  // namespace tools
