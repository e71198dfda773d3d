// The C boundary: nothing is thrown across it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "error.h"

struct sharcs_error {
  std::string message;
};

namespace sharcs {

// Puts a message into `*error`, unless `error` is NULL or memory is short.
void report(sharcs_error** error, const char* message) noexcept;

// Runs `body` and turns what it throws into a status and a message.
template <typename Body>
sharcs_status guarded(sharcs_error** error, Body body) noexcept {
  if (error != nullptr) *error = nullptr;
  try {
    body();
    return SHARCS_OK;
  } catch (const Error& failure) {
    report(error, failure.what());
    return failure.status();
  } catch (const std::bad_alloc&) {
    report(error, "memory is short: free some, or allow fewer widths with memory_mb");
    return SHARCS_ERROR_OUT_OF_MEMORY;
  } catch (const std::exception& failure) {
    report(error, failure.what());
    return SHARCS_ERROR_INTERNAL;
  } catch (...) {
    report(error, "an unknown exception was caught");
    return SHARCS_ERROR_INTERNAL;
  }
}

// A struct that the caller filled, with zeros for the fields that an older program does not have. Those that only a newer
// one has must be 0.
template <typename Options>
Options copy_options(const Options& given) {
  constexpr std::size_t kLargest = 4096;
  const std::size_t size = given.struct_size;
  if (size < sizeof(std::size_t) || size > kLargest) {
    throw_usage("struct_size is " + std::to_string(size) + "; begin with the ..._INIT macro of the struct");
  }
  const auto* bytes = reinterpret_cast<const unsigned char*>(&given);
  if (size > sizeof(Options) &&
      std::any_of(bytes + sizeof(Options), bytes + size, [](unsigned char byte) { return byte != 0; })) {
    throw_usage("a struct has a field that this version of the library does not know; update the library or leave it 0");
  }
  Options options{};
  std::memcpy(&options, &given, std::min(size, sizeof(Options)));
  return options;
}

}  // namespace sharcs
