#include "error.h"

#include <cstddef>

namespace sharcs {

void throw_artifact(std::string message) { throw Error(SHARCS_ERROR_ARTIFACT, std::move(message)); }
void throw_input(std::string message) { throw Error(SHARCS_ERROR_INPUT, std::move(message)); }
void throw_usage(std::string message) { throw Error(SHARCS_ERROR_USAGE, std::move(message)); }
void throw_width(std::string message) { throw Error(SHARCS_ERROR_WIDTH, std::move(message)); }
void throw_engine(std::string message) { throw Error(SHARCS_ERROR_ENGINE, std::move(message)); }

void throw_document(sharcs_status status, const std::string& source, const Problems& problems, const std::string& cure) {
  constexpr std::size_t kShown = 20;
  std::string message = source + ": " + std::to_string(problems.size()) + (problems.size() == 1 ? " problem" : " problems");
  if (status == SHARCS_ERROR_MANIFEST) message += " in the manifest";
  for (std::size_t index = 0; index < problems.size() && index < kShown; ++index) {
    message += (index == 0 ? ": " : "; ") + problems[index];
  }
  if (problems.size() > kShown) message += "; and " + std::to_string(problems.size() - kShown) + " more";
  if (!cure.empty()) message += "; " + cure;
  throw Error(status, message);
}

}  // namespace sharcs
