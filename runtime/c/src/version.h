#pragma once

#include <cstdint>
#include <string>

#include "error.h"
#include "json.h"

namespace sharcs {

// A newer schema is refused before its unknown fields are, which would only hide the reason. `command`: what makes the
// file anew.
void refuse_newer_schema(const json::Value& document, std::int64_t supported, const std::string& source,
                         const std::string& command, sharcs_status status);

}  // namespace sharcs
