#!/usr/bin/env bash
# A 64-bit ARM userland to run in qemu: Debian's Python, ONNX Runtime, LiteRT and tokenizers. No root and no board needed.
#
#   tests/aarch64/userland.sh [FOLDER]                      make it (some 40 s); done at once where it is there already
#   tests/aarch64/run.sh cortex-a72 python3 -c '...'        run its Python on an emulated Cortex-A72
#   tests/aarch64/run.sh cortex-a53 build/x/program ...     run any aarch64 program with its libraries
#
# FOLDER (build/aarch64; SHARCS_AARCH64 names another one, for both scripts) then holds
#
#   root/               Debian of this machine's release: python3, libstdc++, zlib1g-dev
#   site/               the packages of requirements.txt; site/onnxruntime/capi/libonnxruntime.so is ONNX Runtime's library
#   cpu/cortex-a72/     what `qemu-aarch64 -L` takes: root/ with a /proc/cpuinfo of that processor; also cortex-a53, -a76
#   cpu/cortex-a72/bin/python3   the userland's Python on that processor, for a PATH; it can start itself once more
#
# For CMake: -DCMAKE_CROSSCOMPILING_EMULATOR="$PWD/tests/aarch64/run.sh;cortex-a72"
#
# Exit codes: 0 done, 77 this machine lacks what it takes (the reason is on stderr), 1 else.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${SHARCS_AARCH64:-$here/../../build/aarch64}}
python=${PYTHON:-$here/../../.venv/bin/python}

skip() {
  echo "no aarch64 userland: $1" >&2
  exit 77
}

# What decides the contents: a change of it makes the userland anew.
stamp=$(cat "$here/userland.sh" "$here/requirements.txt" /etc/os-release | sha256sum | cut -d' ' -f1)
if [ "$(cat "$folder/stamp" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

# shellcheck source=/dev/null
. /etc/os-release
[ "${ID:-}" = debian ] || skip "it is made from Debian's packages, and this is ${PRETTY_NAME:-an unknown system}"
for tool in qemu-aarch64:qemu-user mmdebstrap:mmdebstrap arch-test:arch-test; do
  command -v "${tool%%:*}" >/dev/null || skip "${tool%%:*} is missing; apt install qemu-user mmdebstrap arch-test"
done

mkdir -p "$(dirname "$folder")"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")
staging=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$staging"' EXIT
chmod 755 "$staging"

# The machine's own mirrors, where they are in the usual place.
sources=()
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list; do
  [ -s "$file" ] && sources=("$file") && break
done
echo "aarch64 userland: Debian $VERSION_CODENAME" >&2
# Unpacked, not installed: nothing of another architecture runs while the userland is made.
mmdebstrap --quiet --arch=arm64 --variant=extract --skip=check/qemu --include=python3,libstdc++6,zlib1g-dev \
  "$VERSION_CODENAME" "$staging/root" "${sources[@]}" >&2 || skip "mmdebstrap could not fetch Debian's packages"

# Links such as libz.so lead to /lib of the machine that they are seen from.
find "$staging/root" -type l -lname '/lib/*' | while read -r link; do
  ln -sfn "$(realpath -ms --relative-to="$(dirname "$link")" "$staging/root$(readlink "$link")")" "$link"
done

version=$(readlink "$staging/root/usr/bin/python3" | tr -dc 0-9.)
echo "aarch64 userland: packages for Python $version" >&2
platforms=()
for libc in 2_34 2_31 2_28 2_27 2_26 2_24 2_17; do
  platforms+=(--platform "manylinux_${libc}_aarch64")
done
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary=:all: \
  --implementation cp --python-version "$version" --abi "cp${version/./}" --abi abi3 --abi none \
  "${platforms[@]}" --platform manylinux2014_aarch64 --target "$staging/site" \
  --requirement "$here/requirements.txt" >&2 || skip "pip could not fetch the packages for aarch64"
(cd "$staging/site/onnxruntime/capi" && ln -s libonnxruntime.so.* libonnxruntime.so)

# Engines choose kernels by the processor's part number, and crash on a /proc/cpuinfo of x86, which qemu would show.
describe() { # name part features
  local sysroot=$staging/cpu/$1 processor folder
  mkdir -p "$sysroot/proc"
  for folder in etc lib usr; do # no more: a program's /tmp or /home is the machine's own
    ln -s "../../root/$folder" "$sysroot/$folder"
  done
  for processor in 0 1 2 3; do
    printf '%s\t: %s\n' processor $processor BogoMIPS 108.00 Features "$3" 'CPU implementer' 0x41 \
      'CPU architecture' 8 'CPU variant' 0x0 'CPU part' "$2" 'CPU revision' 3
    echo
  done >"$sysroot/proc/cpuinfo"
  mkdir "$sysroot/bin"
  # Python takes argument 0 for itself: what it starts as sys.executable is this script, which the machine can run.
  cat >"$sysroot/bin/python3" <<'EOF'
#!/bin/sh
sysroot=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONHOME="$sysroot/../../root/usr" PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$sysroot/../../site"
# Always a named processor: qemu 7.2's default computes wrongly with SME.
exec qemu-aarch64 -cpu "$(basename "$sysroot")" -L "$sysroot" -0 "$sysroot/bin/python3" "$PYTHONHOME/bin/python3" "$@"
EOF
  chmod +x "$sysroot/bin/python3"
}
describe cortex-a53 0xd03 'fp asimd evtstrm crc32 cpuid'
describe cortex-a72 0xd08 'fp asimd evtstrm crc32 cpuid'
describe cortex-a76 0xd0b 'fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp'

echo "$stamp" >"$staging/stamp"
rm -rf "$folder"
mv "$staging" "$folder"
trap - EXIT
