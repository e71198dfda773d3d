// Small text helpers that never depend on the host's locale.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sharcs {

// A number with 6 significant digits, as printf's %g.
std::string format_general(double value);
// A number with `digits` digits behind the point, as printf's %.*f.
std::string format_fixed(double value, int digits);
// "0.25, 0.5, 1" for messages.
std::string format_widths(const std::vector<double>& widths);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
std::string lower_ascii(std::string_view text);

}  // namespace sharcs
