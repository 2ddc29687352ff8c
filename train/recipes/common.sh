# What the recipes share; a recipe sources this file with its zoo id and its own arguments.
#
#   train/recipes/<zoo id>.sh          on CPUs
#   train/recipes/<zoo id>.sh gpu      batches and learning rates for one GPU
#   SMOKE=1 train/recipes/<zoo id>.sh  a few tiny steps, to see that it runs; nothing is released
#
# From the environment:
#   FACES    folder with a folder of aligned faces for each set (facesym prepare faces)
#   MASKS    irregular masks (facesym prepare masks)
#   PARSING  pictures with label maps
#   MESH     ict_face_model.npz
#   PAIRS    pairs that are there already; else they are made
#   VGG16    weights of the perceptual losses: a file, or vgg16 (default: fetched by torchvision)
#   ALEXNET  AlexNet's features, for LPIPS
#   OUT      where the runs are kept (default runs/<zoo id>)
#   SEED     default 0
#   PYTHON   default python
#
# Stopped at any step, the same command goes on from there.
set -euo pipefail
ID=$1 MODE=${2:-cpu}
[[ -z ${SMOKE:-} ]] || MODE=smoke
[[ $MODE == cpu || $MODE == gpu || $MODE == smoke ]] || { echo "error: $MODE is neither cpu nor gpu" >&2; exit 2; }
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHON=${PYTHON:-python} OUT=${OUT:-runs/$ID} SEED=${SEED:-0} VGG16=${VGG16:-vgg16}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

# need NAME…: end with one line if one of these is not set.
need() {
    local name
    for name in "$@"; do
        [[ -n ${!name:-} ]] || { echo "error: set $name (see train/recipes/common.sh)" >&2; exit 2; }
    done
}

# budget STEPS CPU GPU: say what is ahead.
budget() { echo "$ID: $1; about $2 on two CPU cores or $3 on one GPU of the H100's class"; }

# once NAME COMMAND…: run a command that has not been done in OUT yet.
once() {
    local done=$OUT/.done-$1
    shift
    [[ -e $done ]] && return
    mkdir -p "$OUT"
    "$@"
    touch "$done"
}

# stage NAME SCRIPT ARGUMENTS…: a training run in OUT/NAME, from its start or from where it stopped.
stage() {
    local name=$1 script=$2
    shift 2
    local options=(--out "$OUT/$name" --seed "$SEED" --resume --log-every 20)
    [[ $MODE != gpu ]] || options+=(--precision bf16 --workers 12)
    [[ $MODE != smoke ]] || options+=(--precision no --workers 0 --batch 2 --report-to none)
    once "$name" "$PYTHON" "$ROOT/train/$script.py" "$@" "${options[@]}"
}

# What the last stage is given: its model enters the zoo.
RELEASE=(--zoo "$ID")
[[ $MODE != smoke ]] || RELEASE=(--export "$OUT/exported")

# measure TASK ARGUMENTS…: the rows of docs/measured.md, in OUT/results.
measure() {
    [[ $MODE == smoke ]] || once "results-$1" "$PYTHON" -m facesym evaluate "$@" -o "$OUT/results"
}
need FACES
