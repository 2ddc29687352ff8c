#!/usr/bin/env bash
# symmetrize-256: the hierarchical training: reconstruct the image, cut out the face, make it symmetric. The trained
# network's two widest layers are factored.
source "$(dirname "$0")/common.sh" symmetrize-256 "$@"
budget "120, 130, 1,300 and 200 steps" "1 hour" "4 minutes"
case $MODE in
    cpu) first=(--steps 120) second=(--steps 130) third=(--steps 1300) last=(--steps 200 --lr 1e-4) rank=96 ;;
    gpu)
        first=(--steps 120 --batch 64 --lr 8e-4) second=(--steps 130 --batch 64 --lr 8e-4)
        third=(--steps 1300 --batch 64 --lr 8e-4) last=(--steps 200 --batch 64 --lr 4e-4) rank=96
        ;;
    smoke) first=(--steps 2 --size 128) second=("${first[@]}") third=("${first[@]}") last=("${first[@]}") rank=8 ;;
esac
stage reconstruct symmetrize --stage 1 --data "$FACES" "${first[@]}"
stage extract symmetrize --stage 2 --data "$FACES" "${second[@]}" --init "$OUT/reconstruct"
stage symmetrize symmetrize --stage 3 --data "$FACES" "${third[@]}" --init "$OUT/extract"
once factor "$PYTHON" "$ROOT/train/factor.py" "$OUT/symmetrize" --data "$FACES"/* --rank "$rank" -n 400 --out "$OUT/factored"
stage factored-on symmetrize --stage 3 --data "$FACES" "${last[@]}" --init "$OUT/factored" "${RELEASE[@]}"
[[ $MODE == smoke ]] || need ALEXNET
measure symmetrize --faces "$FACES"/{lfw,london,scut,mebeauty,generated} --alexnet "${ALEXNET:-}" --models symmetrize-256 -n 100
