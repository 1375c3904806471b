#!/usr/bin/env bash
# Trains the bundled model that separates music into four stems.
#
#   ALBUM_DIR=/data/everythingisremixed MIDI_DIR=/data/midi MIR1K_DIR=/data/MIR-1K \
#     ./run_train_bundled_music4.sh                1.5 hours on one core
#   ./run_train_bundled_music4.sh train.seed=1     arguments go to both trainings
#   RUN_DIR=runs/unmix/music4/2030-01-31_12-00-00 ./run_train_bundled_music4.sh
#                                                  continues that run
#
# ALBUM_DIR holds the stems of the album Everything is Free (CC0), MIDI_DIR any MIDI files,
# which fluidsynth plays with the sound font FluidR3, MIR1K_DIR the singing. Two songs of
# the album are for the test, one for validation. benchmarks/music4_corpus.py makes the
# corpus; it needs mido, fluidsynth and ffmpeg. Remove a corpus of an earlier release, in
# ROOT_DIR/unmix/music4/data, first. All four networks learn from this corpus; all but that
# of vocals then learn from music of synthesisers and drum machines as well.
# It replaces unmix/bundled/music4; its scores belong on the card there. See setup.sh for
# the other variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
needed_folders=(ALBUM_DIR MIDI_DIR MIR1K_DIR)
# shellcheck source=setup.sh
source "$repo/setup.sh"

PYTHONSAFEPATH=1 python -m unmix.train print_config with umx "$@" >/dev/null

data=$ROOT_DIR/unmix/music4/data
run=${RUN_DIR:-$ROOT_DIR/unmix/music4/$(date +%Y-%m-%d_%H-%M-%S)}

corpus() {
  python "$repo/benchmarks/music4_corpus.py" --album "$ALBUM_DIR" --midi "$MIDI_DIR" \
    --singing "$MIR1K_DIR" "$@"
}

train() {
  PYTHONSAFEPATH=1 python -m unmix.train with umx dataset=song_folders \
    model.channels=1 model.hop_samples=2048 model.hidden_size=128 model.bandwidth=9000 \
    segment_seconds=3 train.seed=0 train.steps_per_epoch=100 train.log_steps=25 \
    train.ema=0.99 train.lr_schedule=cosine "$@"
}

corpus --output "$data"
train data_root="$data" records="$data/records" output="$run/first" \
  target=vocals,drums,bass,other train.epochs=12 train.checkpoint_steps=100 lr=2e-3 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi

for split in train valid test; do
  mkdir -p "$data-machines/$split"
  ln -sfn "$(realpath "$data/$split")"/* "$data-machines/$split"
done
corpus --output "$data-machines" --machines
for target in drums bass other; do
  epochs=8
  [[ $target != bass ]] || epochs=12
  train data_root="$data-machines" records="$data-machines/records" \
    output="$run/last/$target" target=$target initial="$run/first" \
    train.epochs=$epochs train.checkpoint_steps=50 lr=1e-3 "$@"
done
cp -r "$run/first/vocals" "$run/last"

python "$repo/benchmarks/bundled_scores.py" unmix "$run/last" \
  --dataset song_folders --data "$data" --output "$run/test.json"
PYTHONSAFEPATH=1 python -m unmix.convert "$run/last" "$repo/unmix/bundled/music4" \
  --bundle --half
