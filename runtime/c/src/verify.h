// Does the artifact, run here, agree with torch? (SPEC.md, section 7)
#pragma once

#include <string>
#include <vector>

#include "session.h"

namespace sharcs {

// One sentence per limit that was not met: every width on every golden row, as one padded batch and row by row.
std::vector<std::string> verify(Session& session);

}  // namespace sharcs
