#include "text.h"

#include <iomanip>
#include <locale>
#include <sstream>

namespace sharcs {

std::string format_general(double value) {
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  stream << value;
  return stream.str();
}

std::string format_fixed(double value, int digits) {
  std::ostringstream stream;
  stream.imbue(std::locale::classic());
  stream << std::fixed << std::setprecision(digits) << value;
  return stream.str();
}

std::string format_widths(const std::vector<double>& widths) {
  std::vector<std::string> parts;
  for (double width : widths) parts.push_back(format_general(width));
  return join(parts, ", ");
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string result;
  for (std::size_t index = 0; index < parts.size(); ++index) {
    if (index > 0) result += separator;
    result += parts[index];
  }
  return result;
}

std::string lower_ascii(std::string_view text) {
  std::string result(text);
  for (char& letter : result) {
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');
  }
  return result;
}

}  // namespace sharcs
