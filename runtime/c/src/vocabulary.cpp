#include "vocabulary.h"

#include <algorithm>
#include <utility>

namespace sharcs {
namespace {

std::uint32_t hash_of(std::string_view text) {  // FNV-1a
  std::uint32_t hash = 2166136261u;
  for (char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 16777619u;
  return hash;
}

}  // namespace

Vocabulary::Vocabulary(std::size_t expected) {
  std::size_t slots = 16;
  while (slots < 2 * expected) slots *= 2;
  slots_.resize(slots);
}

Vocabulary::Slot& Vocabulary::slot_of(std::string_view text, std::uint32_t hash) {
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
    Slot& slot = slots_[at];
    const bool same =
        slot.hash == hash && slot.length == text.size() && std::string_view(pool_).substr(slot.begin, slot.length) == text;
    if (slot.id < 0 || same) return slot;
  }
}

void Vocabulary::add(std::string_view text, std::int64_t id) {
  if (2 * (size_ + 1) > slots_.size()) grow();
  const std::uint32_t hash = hash_of(text);
  Slot& slot = slot_of(text, hash);
  if (slot.id < 0) {
    slot = Slot{hash, static_cast<std::uint32_t>(pool_.size()), static_cast<std::uint32_t>(text.size()), 0};
    pool_ += text;
    ++size_;
    longest_ = std::max(longest_, text.size());
  }
  slot.id = static_cast<std::int32_t>(id);
}

void Vocabulary::grow() {
  std::vector<Slot> old(2 * slots_.size());
  std::swap(old, slots_);
  for (const Slot& slot : old) {
    if (slot.id < 0) continue;
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = slot.hash & mask;
    while (slots_[at].id >= 0) at = (at + 1) & mask;
    slots_[at] = slot;
  }
}

std::int64_t Vocabulary::find(std::string_view text) const {
  const std::uint32_t hash = hash_of(text);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = hash & mask; slots_[at].id >= 0; at = (at + 1) & mask) {
    const Slot& slot = slots_[at];
    if (slot.hash == hash && slot.length == text.size() && std::string_view(pool_).substr(slot.begin, slot.length) == text) {
      return slot.id;
    }
  }
  return kNone;
}

}  // namespace sharcs
