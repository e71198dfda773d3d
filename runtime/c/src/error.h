// Every failure inside the library is an Error; the C boundary (api.cpp) turns it into a status and a message.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "sharcs_edge.h"

namespace sharcs {

// A message is one sentence: what was given, what was expected, the cure.
class Error : public std::exception {
 public:
  Error(sharcs_status status, std::string message) : status_(status), message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  sharcs_status status() const noexcept { return status_; }

 private:
  sharcs_status status_;
  std::string message_;
};

[[noreturn]] void throw_artifact(std::string message);
[[noreturn]] void throw_input(std::string message);
[[noreturn]] void throw_usage(std::string message);
[[noreturn]] void throw_width(std::string message);
[[noreturn]] void throw_engine(std::string message);

// Every violation of a JSON file, each as "<what> @ <JSON path>"; at most 20 are shown.
using Problems = std::vector<std::string>;
[[noreturn]] void throw_document(sharcs_status status, const std::string& source, const Problems& problems,
                                 const std::string& cure);

}  // namespace sharcs
