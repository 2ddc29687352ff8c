#!/usr/bin/env bash
# mouth-96: teeth and lips of the expressions that lssl-128 draws.
source "$(dirname "$0")/common.sh" mouth-96 "$@"
budget "5,000 steps" "70 minutes" "3 minutes"
case $MODE in
    cpu) steps=(--steps 5000 --ema 0.998) ;;
    gpu) steps=(--steps 5000 --batch 96 --lr 8e-4 --ema 0.998) ;;
    smoke) steps=(--steps 2 --size 128) ;;
esac
stage mouths mouth --data "$FACES"/* --model lssl-128 "${steps[@]}" "${RELEASE[@]}"
[[ $MODE == smoke ]] || need ALEXNET MESH
measure transfer --faces "$FACES"/{scut,mebeauty,lfw} --smiles "$FACES"/{amfd,london} --alexnet "${ALEXNET:-}" \
    --mesh "${MESH:-}" --models lssl-128 -n 60 --turned 60 --classifier-steps 2100
