#!/usr/bin/env bash
# Builds the C runtime below build/c-tests and runs its tests: natively, under sanitizers, and on an emulated Cortex-A72.
#
#   tests/c/run.sh [native] [sanitizers] [aarch64]      all of them if none is named
#
# The last step runs in the userland of tests/aarch64. Where this machine lacks what that takes, or the cross-compiler, it
# is left out, and it says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset MAKEFLAGS  # of a make that has this run beside something else

for tool in cmake c++; do
  command -v "$tool" >/dev/null || {
    echo "$tool was not found; on Debian: apt-get install cmake g++ nlohmann-json3-dev zlib1g-dev doctest-dev" >&2
    exit 1
  }
done

build_and_test() { # NAME TARGET TESTS [CMAKE OPTION]...
  local folder="build/c-tests/$1" target=$2 tests=$3
  shift 3
  cmake -S runtime/c -B "$folder" --log-level=WARNING -DSHARCS_WERROR=ON "$@"
  cmake --build "$folder" --parallel "$(nproc)" --target "$target"
  ctest --test-dir "$folder" --output-on-failure --no-tests=error --tests-regex "$tests" \
    --parallel "$(nproc)"
}

native() {
  build_and_test native all .
  use_tools build/c-tests/native
}

use_tools() { # FOLDER: to profile devices without Python, and for the benchmark
  OMP_NUM_THREADS=1 SHARCS_EDGE_C_TOOLS="$1" .venv/bin/python -m pytest tests/remote/test_runner.py \
    tests/benchmarks/test_embedded.py
}

sanitizers() {
  local options=(-DSHARCS_TOOLS=OFF -DBUILD_SHARED_LIBS=OFF -DCMAKE_BUILD_TYPE=None -DCMAKE_CXX_FLAGS=-O1)
  build_and_test address all . "${options[@]}" -DSHARCS_SANITIZE=address,undefined
  build_and_test thread test_session test_session "${options[@]}" -DSHARCS_SANITIZE=thread  # the only one with threads
}

aarch64() {
  local root=${SHARCS_AARCH64:-$PWD/build/aarch64} include=$PWD/build/c-tests/zlib status=0
  command -v aarch64-linux-gnu-g++ >/dev/null || {
    echo "LEFT OUT: the C runtime on an emulated Cortex-A72; apt-get install g++-aarch64-linux-gnu" >&2
    return
  }
  tests/aarch64/userland.sh || status=$?
  if [ "$status" = 77 ]; then
    echo "LEFT OUT: the C runtime on an emulated Cortex-A72, for want of an aarch64 userland" >&2
    return
  fi
  [ "$status" = 0 ] || exit "$status"
  # Of the userland's headers these alone: the cross-compiler has its own C library.
  mkdir -p "$include"
  cp "$root/root/usr/include/zlib.h" "$root/root/usr/include/zconf.h" "$include"
  build_and_test aarch64 all . -DCMAKE_TOOLCHAIN_FILE="$PWD/runtime/c/cmake/aarch64-linux-gnu.cmake" \
    -DSHARCS_SYSROOT="$root/cpu/cortex-a72" -DSHARCS_ONNXRUNTIME="$root/site/onnxruntime/capi/libonnxruntime.so" \
    -DZLIB_INCLUDE_DIR="$include" -DZLIB_LIBRARY="$root/root/usr/lib/aarch64-linux-gnu/libz.so" \
    -DCMAKE_EXE_LINKER_FLAGS="-Wl,-rpath-link,$root/root/lib/aarch64-linux-gnu"  # where the library finds its zlib
  check_size build/c-tests/aarch64
}

# The stripped library, of which apps have a copy.
check_size() { # FOLDER
  local bytes
  aarch64-linux-gnu-strip -o "$1/stripped.so" "$1/libsharcs_edge.so"
  bytes=$(stat -c %s "$1/stripped.so")
  echo "libsharcs_edge.so for aarch64, stripped: $bytes bytes"
  [ "$bytes" -le 1048576 ] || {
    echo "the stripped library takes $bytes bytes; expected at most 1048576" >&2
    exit 1
  }
}

[ $# -gt 0 ] || set -- native sanitizers aarch64
for step; do
  case $step in
    native | sanitizers | aarch64) "$step" ;;
    *) echo "there is no step $step; expected native, sanitizers or aarch64" >&2 && exit 2 ;;
  esac
done
