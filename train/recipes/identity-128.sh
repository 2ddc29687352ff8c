#!/usr/bin/env bash
# identity-128: the identity model, distilled from a larger one (identity.npy, or dlib's).
source "$(dirname "$0")/common.sh" identity-128 "$@"
budget "9,000 steps" "3 hours" "5 minutes"
case $MODE in
    cpu) sizes=(--steps 9000 --batch 64 --lr 2e-3) ;;
    gpu) sizes=(--steps 4000 --batch 512 --lr 4e-3) ;;
    smoke) sizes=(--steps 2) ;;
esac
stage train identity --data "$FACES" "${sizes[@]}" "${RELEASE[@]}"
measure identity --faces "$FACES/lfw" --models identity-128 -n 1000 --zoo "$ID"
