#!/usr/bin/env bash
# landmarks-68: the 68 landmarks of a face at any roll, then yaw and pitch from the same features.
source "$(dirname "$0")/common.sh" landmarks-68 "$@"
budget "7,000 steps of landmarks at any roll, 3,500 mostly upright, 700 of pose" "4 hours" "7 minutes"
case $MODE in
    cpu) landmarks=(--steps 7000 --batch 32 --lr 2e-3) upright=(--steps 3500 --batch 32 --lr 8e-4) pose=(--steps 700 --batch 48 --lr 2e-3) ;;
    gpu) landmarks=(--steps 4000 --batch 256 --lr 4e-3) upright=(--steps 2000 --batch 256 --lr 2e-3) pose=(--steps 400 --batch 256 --lr 4e-3) ;;
    smoke) landmarks=(--steps 2 --width 8) upright=(--steps 2 --width 8) pose=(--steps 2) ;;
esac
stage landmarks landmarks --data "$FACES" "${landmarks[@]}"
stage upright landmarks --data "$FACES" "${upright[@]}" --init "$OUT/landmarks" --rolled 0.2 --lr-warmup 100
stage pose pose --data "$FACES" "${pose[@]}" --init "$OUT/upright" "${RELEASE[@]}"
measure faces --faces "$FACES"/{flickr,omi,amfd} -n 120 --symmetrize 30
