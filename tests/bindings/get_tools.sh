#!/usr/bin/env bash
# get_tools.sh FOLDER: what the bindings are checked with, from the package registries of Debian and npm:
#   node_modules  the Kotlin compiler and ONNX Runtime Web
#   android.jar   the interface of Android (API level 23), to compile the example app against
#   swift         a Debian tree with Swift's toolchain, 2.5 GB; SWIFT=0 leaves it out
# What cannot be had is said and left out: the tests that need it are skipped.
set -uo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)

missing() { echo "bindings: no $1, so its tests are skipped: $2" >&2; }

get_node_modules() {
  cmp -s "$here/web/package.json" "$folder/package.json" && [ -d "$folder/node_modules" ] && return
  command -v npm > /dev/null || { missing "Kotlin compiler and ONNX Runtime Web" "npm was not found"; return; }
  cp "$here/web/package.json" "$folder/package.json"
  npm install --prefix "$folder" --ignore-scripts --no-package-lock --no-fund --no-audit --loglevel=error ||
    { rm -f "$folder/package.json"; missing "Kotlin compiler and ONNX Runtime Web" "npm install failed"; }
}

# apt with lists of its own: the packages' suite is not that of the machine, whose settings stay as they are.
debian() {  # SUITE COMMAND...
  local suite=$1 state="$folder/apt/$1"
  shift
  mkdir -p "$state/lists/partial" "$state/archives/partial"
  touch "$state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$state/sources.list"
  "$@" -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state" \
    -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o APT::Architectures=amd64 -o APT::Sandbox::User=root -qq
}

get_android_jar() {
  [ -f "$folder/android.jar" ] && return
  local work="$folder/android"
  rm -rf "$work" && mkdir -p "$work"
  if [ -n "$mirror" ] && debian sid apt-get update &&
    (cd "$work" && debian sid apt-get download libandroid-23-java && dpkg-deb -x ./*.deb .); then
    mv "$work"/usr/share/java/com.android.android-23.jar "$folder/android.jar"
  else
    missing "android.jar" "Debian's package libandroid-23-java cannot be had"
  fi
  rm -rf "$work" "$folder/apt"
}

get_swift() {
  [ "${SWIFT:-1}" = 0 ] || command -v swift > /dev/null || [ -d "$folder/swift" ] && return
  local unfinished="$folder/swift-unfinished"
  rm -rf "$unfinished"
  local options=(--quiet --variant=apt --architectures=amd64)
  options+=(--include=swiftlang,libc6-dev,libstdc++-14-dev,pkgconf,zlib1g-dev)
  if [ "$(id -u)" = 0 ] && command -v mmdebstrap > /dev/null && [ -n "$mirror" ] &&
    mmdebstrap "${options[@]}" trixie "$unfinished" "$mirror"; then
    mv "$unfinished" "$folder/swift"
  else
    rm -rf "$unfinished"
    missing "Swift toolchain" "it is not installed, and making a Debian tree of it needs root and mmdebstrap"
  fi
}

# That of the machine.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Created-By: Packages' 2> /dev/null |
  grep -v security | head -1)
get_node_modules
get_android_jar
get_swift
