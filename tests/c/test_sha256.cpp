#include "sha256.h"
#include "support.h"

using sharcs::sha256;
using sharcs::Sha256;

TEST_CASE("sha256: the examples of FIPS 180-4") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256(std::string(1000000, 'a')) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256: pieces of any size give the digest of the whole") {
  std::string data;
  for (int i = 0; i < 300; ++i) data += static_cast<char>(i * 7);
  for (bool portable : {false, true}) {
    for (std::size_t step : {1, 3, 55, 56, 63, 64, 65, 128, 300}) {
      Sha256 hash(portable);
      for (std::size_t at = 0; at < data.size(); at += step) {
        hash.update(data.data() + at, std::min(step, data.size() - at));
      }
      CHECK(hash.finish() == sha256(data));
    }
  }
}
