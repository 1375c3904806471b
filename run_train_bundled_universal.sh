#!/usr/bin/env bash
# Trains the bundled model that separates any sounds, on recordings.
#
#   SPEECH_DIR=/data/speech ENVIRONMENT_DIR=/data/esc10 DIGITS_DIR=/data/digits \
#     OTHER_DIRS=/data/music:/data/animals ./run_train_bundled_universal.sh
#                                                  an hour on one core
#   ./run_train_bundled_universal.sh train.seed=1  arguments go to the training
#   RUN_DIR=runs/mixit/universal/2030-01-31_12-00-00 ./run_train_bundled_universal.sh
#                                                  continues that run
#
# SPEECH_DIR holds an utterance of each of many speakers, ENVIRONMENT_DIR a folder of clips of
# each class of sound, DIGITS_DIR one of each speaker's digits, OTHER_DIRS are folders of
# longer recordings, which are cut in time. The class UNHEARD (rooster) and the speaker of
# digits UNHEARD_SPEAKER (yweweler) are only in a second test. Mixtures have one to three
# sources, all labelled. It replaces mixit/bundled/universal; its scores belong on the card
# there. See setup.sh for the other variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
needed_folders=(SPEECH_DIR ENVIRONMENT_DIR DIGITS_DIR OTHER_DIRS)
# shellcheck source=setup.sh
source "$repo/setup.sh"

export PYTHONSAFEPATH=1
python -m mixit.train print_config with fuss "$@" >/dev/null

IFS=: read -ra others <<<"$OTHER_DIRS"
unheard=${UNHEARD:-rooster} speaker=${UNHEARD_SPEAKER:-yweweler}
data=$ROOT_DIR/mixit/universal/data
run=${RUN_DIR:-$ROOT_DIR/mixit/universal/$(date +%Y-%m-%d_%H-%M-%S)}

# Every folder is one kind of sound, as likely as any other. Speech is five of them.
folders=("$data"/sounds/{speech_{a,b,c,d,e},digits})
mkdir -p "${folders[@]}"
number=0
while IFS= read -r file; do
  ln -sfn "$(realpath "$file")" "${folders[number % 5]}/"
  number=$((number + 1))
done < <(find "$SPEECH_DIR" -name '*.flac' | sort -V)
find "$(realpath "$DIGITS_DIR")" -name '*.wav' -not -path "*/$speaker/*" \
  -exec ln -sfn -t "${folders[5]}" {} +
mapfile -t classes < <(find "$ENVIRONMENT_DIR" -mindepth 1 -maxdepth 1 -type d \
  -not -name "$unheard" | sort)

mix() { # output arguments
  [[ -e "$1" ]] || python -m common.corpora.mixing "${folders[@]:0:5}" "${@:2}" \
    --output "$1" --seconds 4 --rate 16000 --by-time
}
mix "$data/mixtures" "${folders[5]}" "${classes[@]}" "${others[@]}" --max-sources 3 \
  --train 5000 --validation 160 --eval 300
mix "$data/unheard" "$ENVIRONMENT_DIR/$unheard" "$DIGITS_DIR/$speaker" --max-sources 2 \
  --train 1 --validation 1 --eval 100
train() { # output arguments
  python -m mixit.train with fuss data_root="$data/mixtures" records="$data/records" \
    output="$1" labelled=1.0 model.num_sources=3 model.basis=stft model.window_samples=512 \
    model.hop_samples=256 model.bottleneck=128 model.conv_channels=256 model.num_dilations=7 \
    model.num_repeats=3 segment_seconds=4 batch_size=16 validation_examples=160 clip_norm=5 \
    lr=1e-3 train.steps_per_epoch=100 train.checkpoint_steps=100 train.log_steps=25 "${@:2}"
}
# The second training begins with the rate of the first.
train "$run-first" train.epochs=10 lr_decay_steps=600 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
train "$run" initial="$run-first" train.epochs=12 lr_decay_steps=800 "$@"
python -m mixit.evaluate --model "$run" --split eval
for test in mixtures unheard; do
  PYTHONSAFEPATH='' python "$repo/benchmarks/bundled_scores.py" mixit "$run" --dataset fuss \
    --data "$data/$test" --output "$run/$test.json"
done
python -m mixit.convert "$run" "$repo/mixit/bundled/universal" --bundle --half
