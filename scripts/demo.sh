#!/usr/bin/env bash
# The whole road on real text: the shipped SNIPS intents, the packaged MiniLM weights, an artifact for the Raspberry Pi 4.
# Usage: scripts/demo.sh FOLDER   (from the root of the repository; FOLDER is replaced; `sharcs-edge` must be on the PATH)
set -euo pipefail

out=${1:?usage: scripts/demo.sh FOLDER}

do_it() {
  printf '\n\033[1m$ %s\033[0m\n' "$*" >&2
  "$@"
}

rm -rf -- "$out"
mkdir -p -- "$out"

do_it sharcs-edge train --model demo --data demo --max-train-samples 6000 --epochs 1 --learning-rate 1e-4 --seed 0 \
  --output "$out/bundle"
do_it sharcs-edge export "$out/bundle" --target rpi4 -o "$out/artifact"
do_it sharcs-edge verify "$out/artifact"
do_it sharcs-edge profile "$out/artifact" --data demo --save
do_it sharcs-edge calibrate "$out/artifact" --data sharcs_edge/assets/snips/dev.jsonl.gz --max-drop 0.02
do_it sharcs-edge run "$out/artifact" \
  "Play some jazz from the 1960s" \
  "Will it rain in Amsterdam tomorrow afternoon?" \
  "Book a table for four at a quiet Italian place near the station on Friday"
do_it sharcs-edge evaluate "$out/artifact" --data demo
