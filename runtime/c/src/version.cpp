#include "version.h"

namespace sharcs {

void refuse_newer_schema(const json::Value& document, std::int64_t supported, const std::string& source,
                         const std::string& command, sharcs_status status) {
  const json::Value* version = document.find("schema_version");
  if (version == nullptr) return;
  const auto* integer = version->as<std::int64_t>();
  const auto* number = version->as<json::Number>();
  const bool newer = integer != nullptr ? *integer > supported : number != nullptr && number->integral && number->value > 0;
  if (!newer) return;
  throw_document(status, source,
                 {"schema_version is " + json::show(*version) + ", and this sharcs_edge library " + sharcs_version() +
                  " reads " + std::to_string(supported) + ": update the library, or " + command +
                  " again with the sharcs-edge of this version @ $.schema_version"},
                 "");
}

}  // namespace sharcs
