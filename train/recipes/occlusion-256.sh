#!/usr/bin/env bash
# occlusion-256: what covers a face. First on sets in which few people wear glasses, then on all; most images at 128 pixels.
# Then with eyes known to be bare, against false alarms, and with the eyewear that the network so far sees on real wearers.
source "$(dirname "$0")/common.sh" occlusion-256 "$@"
budget "22,400 and 28,800 images, 577,000 at 128 pixels, 159,000 at 256" "5 hours" "7 minutes"
case $MODE in
    cpu)
        few=(--steps 1400 --ema 0.997)
        all=(--steps 3600 --batch 8 --ema 0.998)
        small=(--size 128 --steps 15000 --ema 0.998)
        full=(--steps 9000 --batch 8 --lr 1.2e-3 --ema 0.998)
        small_again=(--size 128 --steps 12000 --ema 0.998)
        full_again=(--steps 3600 --batch 8 --lr 1e-3 --ema 0.998)
        bare_small=(--size 128 --steps 9000 --lr 1.5e-3 --ema 0.998)
        bare_full=(--steps 4000 --batch 8 --lr 1e-3 --ema 0.998)
        taught=(--steps 3300 --batch 8 --lr 1e-3 --ema 0.997)
        ;;
    gpu)
        few=(--steps 600 --batch 64 --lr 4e-3)
        all=(--steps 600 --batch 64 --lr 4e-3)
        small=(--size 128 --steps 8000 --batch 128 --lr 4e-3)
        full=(--steps 4000 --batch 64 --lr 3e-3)
        small_again=(--size 128 --steps 8000 --batch 128 --lr 4e-3)
        full_again=(--steps 2000 --batch 64 --lr 3e-3)
        bare_small=(--size 128 --steps 4000 --batch 128 --lr 3e-3)
        bare_full=(--steps 2000 --batch 64 --lr 2e-3)
        taught=(--steps 1500 --batch 64 --lr 2e-3)
        ;;
    smoke)
        few=(--steps 2 --size 64 --held-out 2)
        all=("${few[@]}") small=("${few[@]}") full=("${few[@]}") small_again=("${few[@]}") full_again=("${few[@]}")
        bare_small=("${few[@]}") bare_full=("${few[@]}") taught=("${few[@]}")
        ;;
esac
studio=("$FACES"/{london,amfd,generated,scut,mebeauty}) wild=("$FACES"/{flickr,stylegan,omi})
if [[ $MODE == smoke ]]; then studio=("$FACES") wild=(); fi
everything=(--data "${studio[@]}" "${wild[@]}" --glasses-in flickr stylegan omi)
stage few occlusion --data "${studio[@]}" "${few[@]}"
stage all occlusion "${everything[@]}" --init "$OUT/few" "${all[@]}"
stage 128 occlusion "${everything[@]}" --init "$OUT/all" "${small[@]}"
stage 256 occlusion "${everything[@]}" --init "$OUT/128" "${full[@]}"
stage 128-again occlusion "${everything[@]}" --init "$OUT/256" "${small_again[@]}"
stage 256-again occlusion "${everything[@]}" --init "$OUT/128-again" "${full_again[@]}"
if [[ $MODE != smoke ]]; then wild+=("$FACES/lfw"); fi
bare=(--data "${studio[@]}" "${wild[@]}" --glasses-in flickr stylegan omi lfw --bare-eyes "$ROOT/train/bare_eyes.txt")
stage bare-128 occlusion "${bare[@]}" --init "$OUT/256-again" "${bare_small[@]}"
stage bare-256 occlusion "${bare[@]}" --init "$OUT/bare-128" "${bare_full[@]}"
stage taught occlusion "${bare[@]}" --teacher "$OUT/256-again" --init "$OUT/bare-256" "${taught[@]}" "${RELEASE[@]}"
measure occlusion --faces "$FACES"/{flickr,stylegan,omi,lfw} --unoccluded "$FACES"/{london,generated,scut,amfd} \
    --marks "$ROOT/tests/data/occlusions.json" --plain "$ROOT/tests/data/unoccluded.txt" --zoo "$ID"
