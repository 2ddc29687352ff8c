#!/usr/bin/env bash
# symmfc-256: completion. Stage I and RecNet at 128 pixels, then all at 256; the discriminators join for the last two thirds.
source "$(dirname "$0")/common.sh" symmfc-256 "$@"
need MASKS
budget "94,000 images at 128 pixels, 218,000 at 256" "20 hours" "15 minutes"
case $MODE in
    cpu)
        small=(--size 128 --window 64 --batch 16 --lr 4e-4 --phase-steps 2000 3900 0)
        full=(--size 256 --min-size 256 --batch 8 --lr 2e-4 --phase-steps 200 3000 24000 --adversary-from 8000)
        ;;
    gpu)
        small=(--size 128 --window 64 --batch 128 --lr 1e-3 --phase-steps 600 1200 0)
        full=(--size 256 --min-size 256 --batch 64 --lr 5e-4 --phase-steps 50 500 6000 --adversary-from 1500)
        ;;
    smoke)
        small=(--size 64 --preset tiny --phase-steps 1 1 0)
        full=(--size 64 --preset tiny --phase-steps 1 1 1)
        ;;
esac
shared=(--data "$FACES" --masks "$MASKS" --perceptual "$VGG16")
shared+=(--glasses-in flickr stylegan omi lfw --bare-eyes "$ROOT/train/bare_eyes.txt")
stage 128 symmfc "${shared[@]}" "${small[@]}" --adversary-from 1000000
stage 256 symmfc "${shared[@]}" "${full[@]}" --identity identity --init "$OUT/128" "${RELEASE[@]}"
[[ $MODE == smoke ]] || need ALEXNET
measure complete --faces "$FACES"/* --masks "$MASKS" --alexnet "${ALEXNET:-}" --size 256 --models symmfc-256 --zoo "$ID"
