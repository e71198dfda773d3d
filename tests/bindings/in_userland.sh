#!/bin/sh
# in_userland.sh ROOT CHECKOUT COMMAND...: run a command inside the Debian tree ROOT, with CHECKOUT and /tmp at their
# own paths. Needs root; the mounts end with the command.
set -eu
root=$1 checkout=$2
shift 2
mkdir -p "$root$checkout"
export root checkout
exec unshare --mount --propagation private sh -euc '
  for folder in /proc /dev /tmp "$checkout"; do mount --rbind "$folder" "$root$folder"; done
  exec chroot "$root" "$@"
' sh "$@"
