#!/usr/bin/env bash
# nfgan-128: make the pairs, train the network, factor its widest maps to rank 96, and train
# the factors.
source "$(dirname "$0")/common.sh" nfgan-128 "$@"
need MESH
budget "24,000 simulated pairs and all real ones; 4,000 and 3,500 steps" "14 hours" "15 minutes"
case $MODE in
    cpu) pairs=(--count 24000) first=(--batch 24 --steps 4000) second=(--batch 24 --lr 3e-4 --steps 3500) rank=96 ;;
    gpu) pairs=(--count 24000 --workers 12) first=(--batch 128 --lr 8e-4 --steps 4000) second=(--batch 128 --lr 6e-4 --steps 3500) rank=96 ;;
    smoke) pairs=(--count 16 --size 64 --workers 1) first=(--steps 1) second=(--steps 1) rank=8 ;;
esac
if [[ -z ${PAIRS:-} ]]; then
    PAIRS=$OUT/pairs
    [[ -e $PAIRS/pairs.csv ]] || rm -rf "$PAIRS" # pairs.csv is written last
    once pairs "$PYTHON" -m facesym prepare pairs "$PAIRS" "$FACES"/* --mesh "$MESH" --expressions "$FACES/london" --seed "$SEED" "${pairs[@]}"
fi
shared=(--data "$PAIRS" --perceptual "$VGG16" --identity identity)
stage full nfgan "${shared[@]}" "${first[@]}"
once factor "$PYTHON" "$ROOT/train/factor.py" "$OUT/full" --data "$FACES"/* --rank "$rank" --out "$OUT/factored"
stage factored-on nfgan "${shared[@]}" "${second[@]}" --init "$OUT/factored" --real-fraction 0.12 --turned-fraction 0.13 \
    --expressive-fraction 0.45 --lambda1 1 --config lean=3 passes=2 "${RELEASE[@]}"
[[ $MODE == smoke ]] || need ALEXNET
measure normalize --london "$FACES/london" --lfw "$FACES/lfw" --web "$FACES"/{flickr,omi} --mesh "$MESH" \
    --alexnet "${ALEXNET:-}" --models nfgan-128 -n 100 --zoo "$ID"
