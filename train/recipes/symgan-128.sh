#!/usr/bin/env bash
# symgan-128 and symgan-128-encoder: the z′ generator trained with its encoder, whose last layer is then factored to rank 48.
source "$(dirname "$0")/common.sh" symgan-128 "$@"
budget "4,400 steps" "50 minutes" "5 minutes"
case $MODE in
    cpu) rank=48 sizes=(--size 128 --latent 128 --asymmetric 8 --batch 24 --lr 4e-4 --adversary-from 600 --steps 4400) ;;
    gpu) rank=48 sizes=(--size 128 --latent 128 --asymmetric 8 --batch 128 --lr 8e-4 --adversary-from 600 --steps 8000) ;;
    smoke) rank=4 sizes=(--size 64 --width 4 --latent 8 --asymmetric 2 --steps 2) ;;
esac
stage train symgan --kind zprime --encoder --no-augment --data "$FACES" --perceptual "$VGG16" "${sizes[@]}" "${RELEASE[@]}"
factor train/encoder "$rank" "$ID-encoder"
[[ $MODE == smoke ]] || need ALEXNET
measure rotate --faces "$FACES"/{scut,mebeauty,generated,lfw} --alexnet "${ALEXNET:-}" --models symgan-128 -n 12 --zoo "$ID"
