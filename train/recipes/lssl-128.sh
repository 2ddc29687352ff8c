#!/usr/bin/env bash
# lssl-128: expression, pose and light. G alone at 64 pixels; all of LSSL at 128; G with a discriminator of mouths.
# The pairs are nfgan-128's, the parser parsing-128.
source "$(dirname "$0")/common.sh" lssl-128 "$@"
need PAIRS
budget "6,000, 2,900 and 4,800 steps" "10 hours" "15 minutes"
case $MODE in
    cpu)
        first=(--size 64 --scale 1 --batch 32 --lr 1e-3 --steps 6000 --adversary-from 6000)
        second=(--batch 16 --lr 4e-4 --discriminator-steps 2 --steps 2900 --adversary-from 100)
        third=(--batch 24 --lr 8e-4 --steps 4800 --adversary-from 4800)
        ;;
    gpu)
        first=(--size 64 --scale 1 --batch 256 --lr 2e-3 --steps 4000 --adversary-from 4000)
        second=(--batch 128 --lr 1e-3 --discriminator-steps 2 --steps 2900 --adversary-from 100)
        third=(--batch 128 --lr 1.6e-3 --steps 4800 --adversary-from 4800)
        ;;
    smoke)
        first=(--size 64 --scale 1 --steps 1 --adversary-from 1)
        second=(--size 64 --scale 1 --discriminator-steps 1 --steps 1)
        third=(--size 64 --scale 1 --steps 1 --adversary-from 1)
        ;;
esac
shared=(--data "$FACES" --pairs "$PAIRS")
emphasis='[["expression",1.6],["happy",1.4],["surprised",1.25],["pose",1.45],["left 20",1.6],["frontal",1.7],["right 20",1.6],["weak",1.3],["side",1.3]]'
stage 64 lssl "${shared[@]}" "${first[@]}" --pair-fraction 0.75
stage 128 lssl "${shared[@]}" "${second[@]}" --parser parsing-128 --identity identity-128 --init "$OUT/64"
stage mouths lssl "${shared[@]}" "${third[@]}" --perceptual "$VGG16" --mouths --pair-fraction 0.85 --init "$OUT/128" \
    --config "emphasis=$emphasis" passes=2 "${RELEASE[@]}"
[[ $MODE == smoke ]] || need ALEXNET MESH
measure transfer --faces "$FACES"/{scut,mebeauty,lfw} --alexnet "${ALEXNET:-}" --mesh "${MESH:-}" --models lssl-128 \
    -n 60 --turned 60 --classifier-steps 2100 --zoo "$ID"
