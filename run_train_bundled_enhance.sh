#!/usr/bin/env bash
# Trains the bundled model that separates speech from noise, on recordings.
#
#   SPEECH_DIR=/data/speech ENVIRONMENT_DIR=/data/esc10 ./run_train_bundled_enhance.sh
#                                                half an hour on one core
#   ./run_train_bundled_enhance.sh train.seed=1  arguments go to the training
#   RUN_DIR=runs/unmix/enhance/2030-01-31_12-00-00 ./run_train_bundled_enhance.sh
#                                                continues that run
#
# SPEECH_DIR holds utterances of many speakers as <speaker>-<anything>.flac, as LibriSpeech
# does: one of ten speakers is for validation, one for the test. ENVIRONMENT_DIR
# holds folders of sounds as <fold>-<anything>.ogg, as ESC-10 does: fold 4 is for
# validation, fold 5 for the test. The class UNHEARD (helicopter) is only in a second test.
# It replaces unmix/bundled/enhance; its scores belong on the card there. It needs ffmpeg.
# See setup.sh for the other variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
needed_folders=(SPEECH_DIR ENVIRONMENT_DIR)
# shellcheck source=setup.sh
source "$repo/setup.sh"

export PYTHONSAFEPATH=1
python -m unmix.train print_config with umxse "$@" >/dev/null

unheard=${UNHEARD:-helicopter}
data=$ROOT_DIR/unmix/enhance/data
run=${RUN_DIR:-$ROOT_DIR/unmix/enhance/$(date +%Y-%m-%d_%H-%M-%S)}

convert() { # file output
  [[ -e "$2" ]] && return
  mkdir -p "${2%/*}"
  ffmpeg -v error -nostdin -y -i "$1" -ar 16000 -ac 1 "${2%/*}/.part.wav"
  mv "${2%/*}/.part.wav" "$2"
}

mix() { # sounds output arguments
  python -m clustering.mix "$1" --output "$2" --labels classes --layout mix_folders \
    --seconds 4 --snr -5 10 --sample-rate 16000 "${@:3}"
}

number=-1 last=''
while IFS= read -r file; do
  name=$(basename "$file" .flac)
  [[ "${name%%-*}" == "$last" ]] || number=$((number + 1))
  last=${name%%-*}
  case $((number % 10)) in
    9) split='test' ;;
    4) split='valid' ;;
    *) split='train' ;;
  esac
  convert "$file" "$data/sounds/$split/speech/$name.wav"
  [[ $split != test ]] || convert "$file" "$data/unheard/test/speech/$name.wav"
done < <(find "$SPEECH_DIR" -name '*.flac' | sort -V)
while IFS= read -r file; do
  class=$(basename "$(dirname "$file")") name=$(basename "$file" .ogg)
  case $class-$name in
    "$unheard"-*) folder=unheard/test ;;
    *-5-*) folder=sounds/test ;;
    *-4-*) folder=sounds/valid ;;
    *) folder=sounds/train ;;
  esac
  convert "$file" "$data/$folder/noise/$class-$name.wav"
done < <(find "$ENVIRONMENT_DIR" -name '*.ogg' | sort)

mix "$data/sounds" "$data/mixtures" --train 1200 --valid 60 --test 200
mix "$data/unheard" "$data/mixtures_unheard" --train 0 --valid 0 --test 100
python -m unmix.train with umxse dataset=mix_folders data_root="$data/mixtures" output="$run" \
  target=speech,noise target_dir=none interferer_dirs= model.hidden_size=192 \
  source_augmentations=gain random_track_mix=true segment_seconds=3 lr_decay_patience=5 patience=20 \
  train.epochs=30 train.steps_per_epoch=60 train.checkpoint_steps=60 train.log_steps=20 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
for test in mixtures mixtures_unheard; do
  PYTHONSAFEPATH='' python "$repo/benchmarks/bundled_scores.py" unmix "$run" \
    --dataset mix_folders --data "$data/$test" --stoi speech --output "$run/$test.json"
done
python -m unmix.convert "$run" "$repo/unmix/bundled/enhance" --bundle --half
