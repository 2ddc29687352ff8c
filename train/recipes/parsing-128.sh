#!/usr/bin/env bash
# parsing-128: the class of each pixel of a face. It prints the intersection over union on held-out people, and of people
# in front of other backgrounds.
source "$(dirname "$0")/common.sh" parsing-128 "$@"
need PARSING
budget "1,500 steps" "1 hour" "2 minutes"
case $MODE in
    cpu) sizes=(--steps 1500) ;;
    gpu) sizes=(--steps 1500 --batch 128 --lr 4e-3) ;;
    smoke) sizes=(--steps 2 --size 64) ;;
esac
stage train parsing --data "$FACES" --labels "$PARSING" "${sizes[@]}" "${RELEASE[@]}"
