#!/usr/bin/env bash
# Everything worth doing in six minutes on a GPU, without a network: the card, tests, demos, launches, times.
#
#     bash scripts/gpu_check.sh [--dry-run] [FOLDER]        by default runs/gpu-check
#
# Each part has a time limit and writes to FOLDER as it goes, so what a killed run has found is there. A part that fails
# does not stop the next. Exit code 1 if one has failed, 2 if no GPU is in reach. --dry-run runs the parts without one.
# It needs CuPy, PyTorch and the tests' packages beside NumPy's; PYTHON names the interpreter.
set -uo pipefail
dry=; [ "${1:-}" = --dry-run ] && { dry=--dry-run; shift; }
folder=$(realpath -m "${1:-runs/gpu-check}")
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
# the cores are the GPU's servants here: no compiled loops, one thread for each BLAS
export PYTHONPATH=$PWD PYTHONUNBUFFERED=1 MPLBACKEND=Agg SCRATCHNET_COMPILED=kernels OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=4

if [ -z "$dry" ] && ! "$python" -c "import sys; from scratchnet.backend import gpu_available; sys.exit(not gpu_available())"; then
    echo "gpu_check: no GPU is in reach: CuPy is not installed, or finds no CUDA device" >&2
    exit 2
fi
mkdir -p "$folder"
summary=$folder/summary.txt
: >"$summary"
failures=0

part() {  # name, limit in seconds, command …: its output is FOLDER/name.txt
    local name=$1 limit=$2 start=$SECONDS code verdict
    shift 2
    timeout -s INT -k 5 "$limit" "$@" >"$folder/$name.txt" 2>&1
    code=$?
    case $code in
        0) verdict=good ;;
        124 | 137) verdict="cut off after $limit s" ;;
        *) verdict="FAILED, exit code $code" ;;
    esac
    [ $code -eq 0 ] || failures=$((failures + 1))
    echo "$name: $verdict, $((SECONDS - start)) s" | tee -a "$summary"
}

workers=; "$python" -c "import xdist" 2>/dev/null && workers="-n 8"
mapfile -t files < <(grep -l "mark.gpu" tests/test_*.py)

part card 20 "$python" -m benchmarks.gpu card $dry
part tests 120 "$python" -m pytest -o addopts= $workers -m gpu -q -rf --durations=10 "${files[@]}"
part demos 70 "$python" -m benchmarks.gpu demos $dry --budget 70
part profile 50 "$python" -m benchmarks.gpu profile $dry --json "$folder/profile.json"
left=$((345 - SECONDS))
part steps "$left" "$python" -m benchmarks.gpu steps $dry --budget "$left" --json "$folder/steps.json"

for name in card tests demos profile steps; do
    printf '\n---------------- %s\n' "$name"
    tail -n 45 "$folder/$name.txt"
done | tee -a "$summary"
echo "All of it is in $folder"
[ $failures -eq 0 ]
