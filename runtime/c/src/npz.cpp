#include "npz.h"

#include <zlib.h>

#include <algorithm>
#include <stdexcept>

namespace sharcs {
namespace {

constexpr std::size_t kLargest = std::size_t{1} << 26;  // bytes of all arrays: far more than any golden file has

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

// A little-endian number of `size` bytes.
std::uint64_t number(std::string_view data, std::size_t at, std::size_t size) {
  if (at > data.size() || data.size() - at < size) refuse("the archive is cut off");
  std::uint64_t value = 0;
  for (std::size_t index = size; index-- > 0;) value = value << 8 | static_cast<unsigned char>(data[at + index]);
  return value;
}

std::string_view part(std::string_view data, std::size_t at, std::size_t size) {
  if (at > data.size() || data.size() - at < size) refuse("the archive is cut off");
  return data.substr(at, size);
}

std::string inflate_raw(std::string_view packed, std::size_t size) {
  std::string result(size, '\0');
  z_stream stream{};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
  // zlib takes its input as it is; its interface has no const for it.
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  stream.next_out = reinterpret_cast<Bytef*>(result.data());
  stream.avail_out = static_cast<uInt>(size);
  const int status = inflate(&stream, Z_FINISH);
  const bool whole = status == Z_STREAM_END && stream.avail_out == 0;
  inflateEnd(&stream);
  if (!whole) refuse("an array cannot be unpacked");
  return result;
}

// The text behind 'key': in the header of an array.
std::string_view header_value(std::string_view header, std::string_view key) {
  const std::size_t at = header.find(key);
  if (at == std::string_view::npos) refuse("an array has no " + std::string(key) + " in its header");
  return header.substr(at + key.size());
}

std::vector<std::size_t> read_shape(std::string_view text) {
  std::vector<std::size_t> shape;
  std::size_t value = 0;
  bool digits = false;
  for (char letter : text.substr(0, text.find(')'))) {
    if (letter >= '0' && letter <= '9') {
      value = value * 10 + static_cast<std::size_t>(letter - '0');
      digits = true;
      if (value > kLargest) refuse("an array is too large");
    } else if (digits) {
      shape.push_back(value);
      value = 0;
      digits = false;
    }
  }
  if (digits) shape.push_back(value);
  return shape;
}

std::size_t item_size(const std::string& dtype) {
  if (dtype.size() < 3 || (dtype[0] != '<' && dtype[0] != '|')) refuse("an array holds " + dtype);
  std::size_t size = 0;
  for (char letter : dtype.substr(2)) {
    if (letter < '0' || letter > '9' || size > kLargest) refuse("an array holds " + dtype);
    size = size * 10 + static_cast<std::size_t>(letter - '0');
  }
  return dtype[1] == 'U' ? 4 * size : size;
}

NpyArray read_npy(std::string_view data) {
  if (data.substr(0, 6) != "\x93NUMPY") refuse("an entry is no NumPy array");
  const bool first_version = number(data, 6, 1) == 1;
  const std::size_t length = number(data, 8, first_version ? 2 : 4);
  const std::size_t begin = first_version ? 10 : 12;
  const std::string_view header = part(data, begin, length);
  NpyArray array;
  const std::string_view descr = header_value(header, "'descr': '");
  array.dtype = std::string(descr.substr(0, descr.find('\'')));
  if (header_value(header, "'fortran_order': ").substr(0, 5) != "False") refuse("an array is in Fortran order");
  array.shape = read_shape(header_value(header, "'shape': ("));
  array.data = std::string(data.substr(begin + length));
  std::size_t bytes = item_size(array.dtype);
  for (std::size_t size : array.shape) {
    if (size != 0 && bytes > kLargest / size) refuse("an array is too large");
    bytes *= size;
  }
  if (bytes != array.data.size()) refuse("an array has another size than its header says");
  return array;
}

}  // namespace

std::size_t NpyArray::size() const {
  std::size_t count = 1;
  for (std::size_t one : shape) count *= one;
  return count;
}

std::map<std::string, NpyArray> read_npz(std::string_view data) {
  const std::size_t end = data.rfind(std::string_view("PK\x05\x06", 4));
  if (end == std::string_view::npos) refuse("it is no zip archive");
  const std::uint64_t count = number(data, end + 10, 2);
  std::size_t at = number(data, end + 16, 4);
  std::map<std::string, NpyArray> arrays;
  std::size_t room = kLargest;
  for (std::uint64_t index = 0; index < count; ++index) {
    if (number(data, at, 4) != 0x02014b50) refuse("its directory is damaged");
    const std::uint64_t method = number(data, at + 10, 2);
    const std::size_t packed = number(data, at + 20, 4);
    const std::size_t size = number(data, at + 24, 4);
    const std::size_t name_size = number(data, at + 28, 2);
    const std::size_t local = number(data, at + 42, 4);
    std::string name(part(data, at + 46, name_size));
    at += 46 + name_size + number(data, at + 30, 2) + number(data, at + 32, 2);
    if (size > room || packed > room) refuse("its arrays are too large");
    room -= std::max(size, packed);
    const std::size_t begin = local + 30 + number(data, local + 26, 2) + number(data, local + 28, 2);
    const std::string_view content = part(data, begin, packed);
    if (method != 0 && method != 8) refuse("an array is packed in an unknown way");
    if (name.size() > 4 && name.compare(name.size() - 4, 4, ".npy") == 0) name.resize(name.size() - 4);
    arrays[name] = read_npy(method == 0 ? std::string(content) : inflate_raw(content, size));
  }
  return arrays;
}

}  // namespace sharcs
