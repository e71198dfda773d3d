# What runs on a device without Python: one POSIX shell that lives as long as the connection, and no longer.
#
# It reads one request a line from stdin and answers each with one JSON line on stdout; what it starts talks with the host
# through the same stdin and stdout until it ends. Files come over connections of their own. The end of stdin (the host
# has gone, the connection is lost) ends this, and what it started. The folder and its lock are those of _agent.py.
# toybox (Android 8 and newer), busybox and coreutils have everything that is called; mksh, Android's shell, has no printf.
set -uf
umask 077

refuse() { # KIND [MEMBERS]
  echo "{\"refused\":\"$1\"${2:-}}"
  exit 0
}

plain() { sed 's/["\\]//g' | tail -n 1; } # text for a JSON string

refuse_storage() { # REASON
  refuse storage ",\"reason\":\"$(echo "$1" | plain)\",\"folder\":\"$root\""
}

find_root() {
  if [ -n "${XDG_CACHE_HOME:-}" ]; then set -- "$XDG_CACHE_HOME"; else set -- "${HOME:-/}/.cache" /data/local/tmp; fi
  for place; do # Android's shell user has no home that it may write to
    root=$place/sharcs-edge
    reason=$( (mkdir -p "$root/files" "$root/runs" && : >>"$root/lock") 2>&1) && return
  done
  root=$1
  refuse_storage "$reason"
}

take_lock() {
  exec 9<>"$root/lock"
  flock -n 9 9<&9 || refuse busy ",\"holder\":\"$(plain <"$root/lock")\""
  echo "process $$, since $(date +%H:%M:%S)" >"$root/lock"
}

tidy() { # nobody else works here while the lock is held: what lies in `runs` has been left behind
  rm -rf "$root/runs"
  reason=$(mkdir "$root/runs" "$run" 2>&1) || refuse_storage "$reason"
  find "$root/files" -type f -mtime +30 -exec rm -f {} +
}

property() { # of Android
  if command -v getprop >/dev/null; then getprop "$1" | plain; fi
}

greet() {
  model="$(property ro.product.manufacturer) $(property ro.product.model)"
  echo "{\"machine\":\"$(uname -m)\",\"kernel\":\"$(uname -r)\",\"folder\":\"$root\",\"model\":\"$model\"," \
    "\"android\":\"$(property ro.build.version.release)\"}"
}

look() { # SHA256...: what has come of these files (-1: all of it), and the free space in kB: Android's sh counts to 2^31
  received=
  for sha; do
    size=0
    if [ -f "$root/files/$sha" ]; then
      touch -c "$root/files/$sha"
      size=-1
    elif [ -f "$root/files/$sha.part" ]; then
      size=$(wc -c <"$root/files/$sha.part" | sed 's/ //g')
    fi
    received="$received,\"$sha\":$size"
  done
  free=$(df -kP "$root" | tail -n 1 | sed 's/  */ /g' | cut -d ' ' -f 4)
  echo "{\"received\":{${received#,}},\"free_kb\":$free}"
}

keep() { # SHA256: what came of a file counts only if its SHA-256 is right
  found=$(sha256sum "$root/files/$1.part" | cut -d ' ' -f 1)
  if [ "$found" != "$1" ]; then
    rm -f "$root/files/$1.part"
    refuse damaged
  fi
  mv "$root/files/$1.part" "$root/files/$1"
  echo '{}'
}

place() { # SHA256 NAME: a file of the run; a copy where the file system or the system has no links
  case $2 in */*) mkdir -p "$run/${2%/*}" ;; esac
  ln "$root/files/$1" "$run/$2" 2>/dev/null || reason=$(cp "$root/files/$1" "$run/$2" 2>&1) || refuse_storage "$reason"
  echo '{}'
}

call() { # PROGRAM ARGUMENT...: from the run's folder, where its libraries are too
  chmod 700 "$run/$1"
  code=0
  (cd "$run" && LD_LIBRARY_PATH=. ORT_DISABLE_TELEMETRY=1 exec "./$@") 9<&9 || code=$?
  echo "{\"returncode\":$code}"
}

missing=
for tool in cp cut date df find flock ln mkdir mv rm sed sha256sum tail touch uname wc; do
  command -v "$tool" >/dev/null || missing="$missing $tool"
done
[ -z "$missing" ] || refuse tools ",\"missing\":\"$missing\""
find_root
run=$root/runs/$$
take_lock
trap 'rm -rf "$run"' EXIT
trap 'exit 1' HUP INT TERM PIPE
tidy
greet
while read -r request words; do
  set -- $words
  case $request in
    look | keep | place | call) "$request" "$@" ;;
  esac
done
exit 0
