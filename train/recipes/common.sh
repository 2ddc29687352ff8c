# Functions and settings of all recipes; a recipe sources this file with its zoo id and its arguments.
#
#   train/recipes/<zoo id>.sh          on CPUs
#   train/recipes/<zoo id>.sh gpu      batches and learning rates for one GPU
#   SMOKE=1 train/recipes/<zoo id>.sh  a few tiny steps as a test; releases nothing
#
# From the environment:
#   FACES    folder with a folder of aligned faces for each set (facesym prepare faces)
#   MASKS    irregular masks (facesym prepare masks)
#   PARSING  images with label maps
#   MESH     ict_face_model.npz
#   PAIRS    existing pairs; otherwise nfgan-128 makes them
#   VGG16    weights of the perceptual losses: a file, or vgg16 (default: fetched by torchvision)
#   ALEXNET  AlexNet's features, for LPIPS
#   OUT      folder of the runs (default runs/<zoo id>)
#   SEED     default 0
#   PYTHON   default python
#
# The same command continues an interrupted recipe.
set -euo pipefail
ID=$1 MODE=${2:-cpu}
[[ -z ${SMOKE:-} ]] || MODE=smoke
[[ $MODE == cpu || $MODE == gpu || $MODE == smoke ]] || { echo "error: $MODE is neither cpu nor gpu" >&2; exit 2; }
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PYTHON=${PYTHON:-python} OUT=${OUT:-runs/$ID} SEED=${SEED:-0} VGG16=${VGG16:-vgg16}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

# need NAME…: exit with an error if one of these is not set.
need() {
    local name
    for name in "$@"; do
        [[ -n ${!name:-} ]] || { echo "error: set $name (see train/recipes/common.sh)" >&2; exit 2; }
    done
}

# budget STEPS CPU GPU: print the steps and times to expect.
budget() { echo "$ID: $1; about $2 on two CPU cores or $3 on one GPU of the H100's class"; }

# once NAME COMMAND…: run a command unless it has already finished in OUT.
once() {
    local done=$OUT/.done-$1
    shift
    [[ -e $done ]] && return
    mkdir -p "$OUT"
    "$@"
    touch "$done"
}

# stage NAME SCRIPT ARGUMENTS…: a training run in OUT/NAME, continued if it was interrupted.
stage() {
    local name=$1 script=$2
    shift 2
    local options=(--out "$OUT/$name" --seed "$SEED" --resume --log-every 20)
    [[ $MODE != gpu ]] || options+=(--precision bf16 --workers 12)
    [[ $MODE != smoke ]] || options+=(--precision no --workers 0 --batch 2 --report-to none)
    once "$name" "$PYTHON" "$ROOT/train/$script.py" "$@" "${options[@]}"
}

# Options of the last stage: they add its model to the zoo.
RELEASE=(--zoo "$ID")
[[ $MODE != smoke ]] || RELEASE=(--export "$OUT/exported")

# factor MODEL RANK ID: factor the widest maps of the model in OUT/MODEL and replace the zoo's model ID by the result.
factor() {
    local options=(--zoo "$3")
    [[ $MODE != smoke ]] || options=()
    once factor "$PYTHON" "$ROOT/train/factor.py" "$OUT/$1" --data "$FACES"/* --rank "$2" --out "$OUT/factored" "${options[@]}"
}

# measure TASK ARGUMENTS…: compute the rows of docs/measured.md into OUT/results and, with --zoo, the metrics in zoo.json.
measure() {
    [[ $MODE == smoke ]] || once "results-$1" "$PYTHON" -m facesym evaluate "$@" -o "$OUT/results"
}
need FACES
