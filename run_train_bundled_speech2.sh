#!/usr/bin/env bash
# Trains the bundled model that separates two speakers, on recorded speech.
#
#   SPEECH_DIR=/data/speech ./run_train_bundled_speech2.sh               2.3 hours on one core
#   SPEECH_DIR=/data/speech ./run_train_bundled_speech2.sh train.seed=1  arguments go to all
#                                                                        three trainings
#   RUN_DIR=runs/clustering/speech2/2030-01-31_12-00-00 SPEECH_DIR=... \
#     ./run_train_bundled_speech2.sh                                     continues that run
#
# SPEECH_DIR holds utterances of many speakers as <speaker>-<anything>.flac, as LibriSpeech
# does. One of ten speakers is for validation, one for the test. It replaces
# clustering/bundled/speech2; its scores belong on the card there. It needs ffmpeg. See
# setup.sh for the other variables it reads.
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
needed_folders=(SPEECH_DIR)
# shellcheck source=setup.sh
source "$repo/setup.sh"
export PYTHONSAFEPATH=1
python -m clustering.train print_config with conv_tasnet "$@" >/dev/null

data=$ROOT_DIR/clustering/speech2/data
run=${RUN_DIR:-$ROOT_DIR/clustering/speech2/$(date +%Y-%m-%d_%H-%M-%S)}

convert() { # file rate filter output
  [[ -e "$4" ]] && return
  mkdir -p "${4%/*}"
  ffmpeg -v error -nostdin -y -i "$1" -af "$3" -ar "$2" -ac 1 "${4%/*}/.part.wav"
  mv "${4%/*}/.part.wav" "$4"
}

number=-1 last=''
while IFS= read -r file; do
  name=$(basename "$file" .flac)
  speaker=${name%%-*}
  [[ "$speaker" == "$last" ]] || number=$((number + 1))
  last=$speaker
  case $((number % 10)) in
    9) split='test' ;;
    4) split='valid' ;;
    *) split='train' ;;
  esac
  folder=$data/sounds/$split/$speaker
  convert "$file" 8000 aresample=8000 "$folder/$name.wav"
  [[ $split == train ]] || continue
  for speed in 90 110; do # Slower and lower, faster and higher.
    filter="aresample=16000,asetrate=16000*$speed/100"
    convert "$file" 8000 "$filter" "$folder/$name-$speed.wav"
  done
done < <(find "$SPEECH_DIR" -name '*.flac' | sort -V)

python -m clustering.mix "$data/sounds" --output "$data/mixtures" --seconds 4 --snr -5 5 \
  --train 2400 --valid 120 --test 300
train() {
  python -m clustering.train with conv_tasnet dataset=wsj0_2mix data_root="$data/mixtures" \
    mixing=random snr_db=-5,5 sample_rate=8000 segment_seconds=2 batch_size=4 \
    loss.inference_kind=snr clip_norm=5 conv_tasnet.filterbank.filters=192 \
    conv_tasnet.filterbank.size=40 conv_tasnet.filterbank.stride=20 \
    conv_tasnet.bottleneck=96 conv_tasnet.hidden=192 conv_tasnet.skip=96 \
    conv_tasnet.blocks=7 conv_tasnet.repeats=2 train.steps_per_epoch=250 \
    train.checkpoint_steps=250 train.log_steps=50 "$@"
}

train output="$run/first" lr=1e-3 lr_decay_patience=2 train.epochs=30 "$@"
if [[ " $* " == *" --check "* ]]; then exit; fi
# The second training, with averaged weights and a learning rate that falls to 0, lowers the
# validation loss from -4.6 to -5.0 dB, and the third, with random speeds as well, to -5.5 dB.
train output="$run/second" initial="$run/first" lr=7e-4 train.lr_schedule=cosine \
  train.ema=0.999 train.epochs=24 train.seed=1 "$@"
train output="$run" initial="$run/second" lr=7e-4 train.lr_schedule=cosine \
  train.ema=0.999 train.epochs=28 train.seed=2 augment.speed=0.85,1.15 "$@"
python -m clustering.evaluate "$run" --oracle
python -m clustering.convert "$run" "$repo/clustering/bundled/speech2" --bundle --half
