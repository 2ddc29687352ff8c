#!/usr/bin/env bash
# landmarks-68: the 68 landmarks of a face, first at any roll, then mostly upright, then twice of faces in which one
# feature is moved; at last yaw and pitch from the same features.
source "$(dirname "$0")/common.sh" landmarks-68 "$@"
budget "7,000 steps of landmarks at any roll, 3,500 mostly upright, 2,500 and 7,000 with moved features, 700 of pose" "5 hours" "12 minutes"
case $MODE in
    cpu) landmarks=(--steps 7000 --batch 32 --lr 2e-3) upright=(--steps 3500 --batch 32 --lr 8e-4) moved=(--steps 2500 --batch 32 --lr 5e-4) again=(--steps 7000 --batch 48 --lr 8e-4) pose=(--steps 700 --batch 48 --lr 2e-3) ;;
    gpu) landmarks=(--steps 4000 --batch 256 --lr 4e-3) upright=(--steps 2000 --batch 256 --lr 2e-3) moved=(--steps 1500 --batch 256 --lr 1e-3) again=(--steps 4000 --batch 256 --lr 1.5e-3) pose=(--steps 400 --batch 256 --lr 4e-3) ;;
    smoke) landmarks=(--steps 2 --width 8) upright=(--steps 2) moved=(--steps 2) again=(--steps 2) pose=(--steps 2) ;;
esac
stage landmarks landmarks --data "$FACES" --moved 0 "${landmarks[@]}"
stage upright landmarks --data "$FACES" "${upright[@]}" --init "$OUT/landmarks" --rolled 0.2 --moved 0 --lr-warmup 100
stage moved landmarks --data "$FACES" "${moved[@]}" --init "$OUT/upright" --rolled 0.2 --lr-warmup 100
stage again landmarks --data "$FACES" "${again[@]}" --init "$OUT/moved" --rolled 0.2 --lr-warmup 100
stage pose pose --data "$FACES" "${pose[@]}" --init "$OUT/again" "${RELEASE[@]}"
measure faces --faces "$FACES"/{flickr,omi,amfd} -n 120 --symmetrize 30
