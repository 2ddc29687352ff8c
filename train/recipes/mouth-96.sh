#!/usr/bin/env bash
# mouth-96: teeth and lips of the expressions that lssl-128 draws.
source "$(dirname "$0")/common.sh" mouth-96 "$@"
budget "3,600 steps" "1 hour" "3 minutes"
case $MODE in
    cpu) steps=(--steps 3600 --lr 6e-4 --ema 0.995) ;;
    gpu) steps=(--steps 3600 --batch 96 --lr 1.2e-3 --ema 0.995) ;;
    smoke) steps=(--steps 2 --size 128) ;;
esac
sets=("$FACES"/{london,amfd,generated,scut,mebeauty,flickr,stylegan,omi} --wide "$FACES/lfw")
[[ $MODE != smoke ]] || sets=("$FACES")
stage mouths mouth --data "${sets[@]}" --model lssl-128 "${steps[@]}" "${RELEASE[@]}"
[[ $MODE == smoke ]] || need ALEXNET MESH
measure transfer --faces "$FACES"/{scut,mebeauty,lfw} --smiles "$FACES"/{amfd,london} --alexnet "${ALEXNET:-}" \
    --mesh "${MESH:-}" --models lssl-128 -n 60 --turned 60 --classifier-steps 2100
