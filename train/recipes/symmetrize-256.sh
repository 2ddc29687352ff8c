#!/usr/bin/env bash
# symmetrize-256: the hierarchical training: reconstruct the image, cut out the face, make it symmetric; then factor the widest
# maps to rank 96.
source "$(dirname "$0")/common.sh" symmetrize-256 "$@"
budget "120, 130 and 1,300 steps" "50 minutes" "3 minutes"
case $MODE in
    cpu) first=(--steps 120) second=(--steps 130) third=(--steps 1300) rank=96 ;;
    gpu) first=(--steps 120 --batch 64 --lr 8e-4) second=(--steps 130 --batch 64 --lr 8e-4) third=(--steps 1300 --batch 64 --lr 8e-4) rank=96 ;;
    smoke) first=(--steps 2 --size 64) second=("${first[@]}") third=("${first[@]}") rank=8 ;;
esac
stage reconstruct symmetrize --stage 1 --data "$FACES" "${first[@]}"
stage extract symmetrize --stage 2 --data "$FACES" "${second[@]}" --init "$OUT/reconstruct"
stage symmetrize symmetrize --stage 3 --data "$FACES" "${third[@]}" --init "$OUT/extract" "${RELEASE[@]}"
factor symmetrize "$rank" "$ID"
[[ $MODE == smoke ]] || need ALEXNET
measure symmetrize --faces "$FACES"/{lfw,london,scut,mebeauty,generated} --alexnet "${ALEXNET:-}" --models symmetrize-256 -n 100 --zoo "$ID"
