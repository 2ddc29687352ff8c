#!/usr/bin/env bash
# occlusion-256: what hides a face: on sets in which few people wear glasses; then with photos as people take them too.
source "$(dirname "$0")/common.sh" occlusion-256 "$@"
budget "1,400 and 3,600 steps" "1 hour" "3 minutes"
case $MODE in
    cpu) first=(--steps 1400 --ema 0.997) second=(--steps 3600 --batch 8 --ema 0.998) ;;
    gpu) first=(--steps 2000 --batch 64 --lr 4e-3) second=(--steps 8000 --batch 64 --lr 4e-3) ;;
    smoke) first=(--steps 2 --size 64 --held-out 2) second=("${first[@]}") ;;
esac
few=("$FACES"/{london,amfd,generated,scut,mebeauty}) wide=("$FACES"/{flickr,stylegan,omi})
if [[ $MODE == smoke ]]; then few=("$FACES") wide=(); fi
stage few occlusion --data "${few[@]}" "${first[@]}"
stage all occlusion --data "${few[@]}" "${wide[@]}" --glasses-in flickr stylegan omi --init "$OUT/few" "${second[@]}" \
    "${RELEASE[@]}"
measure occlusion --faces "$FACES"/{flickr,stylegan,omi,lfw} --unoccluded "$FACES"/{london,generated,scut,amfd} \
    --marks "$ROOT/tests/data/occlusions.json"
