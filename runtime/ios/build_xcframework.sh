#!/usr/bin/env bash
# build_xcframework.sh JSON_INCLUDE_DIR: write build/CSharcsEdge.xcframework, the C runtime for devices, simulators and
# macOS. Needs Xcode and CMake; the folder is the one that holds nlohmann/json.hpp.
set -euo pipefail
if [ $# -ne 1 ] || [ ! -f "$1/nlohmann/json.hpp" ]; then
  echo "usage: build_xcframework.sh FOLDER, the one that holds nlohmann/json.hpp" >&2
  exit 2
fi
json=$(cd "$1" && pwd)
cd "$(dirname "$0")"

headers=build/include
rm -rf "$headers" build/CSharcsEdge.xcframework
mkdir -p "$headers"
cp ../c/include/sharcs_edge.h "$headers"
printf 'module CSharcsEdge {\n  header "sharcs_edge.h"\n  export *\n}\n' > "$headers/module.modulemap"

arguments=()
build() {  # NAME SYSTEM SDK ARCHITECTURES
  cmake -S ../c -B "build/$1" -DCMAKE_SYSTEM_NAME="$2" -DCMAKE_OSX_SYSROOT="$3" -DCMAKE_OSX_ARCHITECTURES="$4" \
    -DBUILD_SHARED_LIBS=OFF -DSHARCS_TOOLS=OFF -DSHARCS_TESTS=OFF -DSHARCS_JSON_INCLUDE_DIR="$json"
  cmake --build "build/$1" --target sharcs_edge
  arguments+=(-library "build/$1/libsharcs_edge.a" -headers "$headers")
}
build device iOS iphoneos arm64
build simulator iOS iphonesimulator "arm64;x86_64"
build macos Darwin macosx "arm64;x86_64"
xcodebuild -create-xcframework "${arguments[@]}" -output build/CSharcsEdge.xcframework
