#!/usr/bin/env bash
# Run an aarch64 program in the userland of userland.sh, which see, on one emulated processor.
#
#   tests/aarch64/run.sh CPU PROGRAM [ARGUMENT]...
#
# CPU: cortex-a53, cortex-a72 or cortex-a76. PROGRAM: `python3`, for the userland's with its packages, or a file.
# QEMU_PLUGIN in the environment is `qemu-aarch64 -plugin`.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 CPU PROGRAM [ARGUMENT]..." >&2
  exit 2
fi
here=$(cd "$(dirname "$0")" && pwd)
sysroot=${SHARCS_AARCH64:-$here/../../build/aarch64}/cpu/$1
program=$2
shift 2
if [ ! -d "$sysroot" ]; then
  echo "there is no $sysroot: run tests/aarch64/userland.sh, and name cortex-a53, cortex-a72 or cortex-a76" >&2
  exit 1
fi
if [ "$program" = python3 ]; then
  exec "$sysroot/bin/python3" "$@"
fi
exec qemu-aarch64 -cpu "$(basename "$sysroot")" -L "$sysroot" "$program" "$@"
