#pragma once

#include <vector>

namespace sharcs {

// The sum, rounded once (Shewchuk 1997), as Python's math.fsum gives it: equal in every runtime, whatever the order.
// `values`: finite.
double exact_sum(const std::vector<double>& values);

}  // namespace sharcs
