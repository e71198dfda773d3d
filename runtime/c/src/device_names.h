// Names of ARM cores by the main ID register, as runtime/python has them.
#pragma once

#include <string>

namespace sharcs {

struct ArmPart {
  const char* implementer;
  const char* part;
  const char* name;
};

inline constexpr ArmPart kArmParts[] = {
    {"0x41", "0xd03", "Cortex-A53"},   {"0x41", "0xd04", "Cortex-A35"},  {"0x41", "0xd05", "Cortex-A55"},
    {"0x41", "0xd07", "Cortex-A57"},   {"0x41", "0xd08", "Cortex-A72"},  {"0x41", "0xd09", "Cortex-A73"},
    {"0x41", "0xd0a", "Cortex-A75"},   {"0x41", "0xd0b", "Cortex-A76"},  {"0x41", "0xd0c", "Neoverse-N1"},
    {"0x41", "0xd0d", "Cortex-A77"},   {"0x41", "0xd40", "Neoverse-V1"}, {"0x41", "0xd41", "Cortex-A78"},
    {"0x41", "0xd42", "Cortex-A78AE"}, {"0x41", "0xd44", "Cortex-X1"},   {"0x41", "0xd46", "Cortex-A510"},
    {"0x41", "0xd47", "Cortex-A710"},  {"0x41", "0xd48", "Cortex-X2"},   {"0x41", "0xd49", "Neoverse-N2"},
    {"0x41", "0xd4d", "Cortex-A715"},  {"0x41", "0xd4e", "Cortex-X3"},   {"0x41", "0xd4f", "Neoverse-V2"},
    {"0x41", "0xd80", "Cortex-A520"},  {"0x41", "0xd81", "Cortex-A720"}, {"0x41", "0xd82", "Cortex-X4"},
};

// nullptr for a core that is not listed.
inline const char* arm_part_name(const std::string& implementer, const std::string& part) {
  for (const ArmPart& known : kArmParts) {
    if (implementer == known.implementer && part == known.part) return known.name;
  }
  return nullptr;
}

}  // namespace sharcs
