// Texts to ids: an open hash table over one pool of bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sharcs {

class Vocabulary {
 public:
  static constexpr std::int64_t kNone = -1;

  explicit Vocabulary(std::size_t expected = 0);
  // A text that is there already gets the new id.
  void add(std::string_view text, std::int64_t id);
  std::int64_t find(std::string_view text) const;
  std::size_t size() const { return size_; }
  // Bytes of the longest text.
  std::size_t longest() const { return longest_; }

 private:
  struct Slot {
    std::uint32_t hash = 0;
    std::uint32_t begin = 0;
    std::uint32_t length = 0;
    std::int32_t id = -1;  // -1: free
  };
  Slot& slot_of(std::string_view text, std::uint32_t hash);
  void grow();

  std::vector<Slot> slots_;
  std::string pool_;
  std::size_t size_ = 0;
  std::size_t longest_ = 0;
};

}  // namespace sharcs
