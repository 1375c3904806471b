#!/usr/bin/env bash
# Downloads the models that Google published, runs the native network beside the meta
# graph of each, and writes a report.
#
#   ./run_verify_published_weights.sh                   all of them, some 600 MB
#   ./run_verify_published_weights.sh yfcc100m bird4    these
#   GRESEARCH_URL=... ZENODO_URL=... ./run_verify_published_weights.sh
#                                                       from other places
#
# A download that was broken off goes on. Models are kept in the cache of the suite
# (SEPARATION_CACHE) for mixit.load("yfcc100m"); REPORT names the report, default
# published_weights.md in ROOT_DIR. The exit code is 0 only if every model was verified.
set -euo pipefail
repo=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=setup.sh
source "$repo/setup.sh"

# A file named common.py in the caller's folder must not be taken for ours.
export PYTHONSAFEPATH=1
report=${REPORT:-$ROOT_DIR/published_weights.md}

say() { printf '%s\n' "$*" >&2; }

is_page() { # file; hosts send an HTML page where the file has moved
  head -c 512 -- "$1" | tr -d '\0' | grep -qiE '<!doctype html|<html'
}

fetch() { # address, file
  local code=0
  curl --location --fail --silent --show-error --retry 3 --retry-delay 2 \
    --continue-at - --output "$2.part" -- "$1" || code=$?
  # The host cannot send the rest alone, or there is no rest.
  if [[ $code == 33 || ($code == 22 && -s "$2.part") ]]; then
    rm -f -- "$2.part"
    code=0
    curl --location --fail --silent --show-error --retry 3 --retry-delay 2 \
      --output "$2.part" -- "$1" || code=$?
  fi
  if [[ $code != 0 ]]; then
    say "$1 could not be downloaded (curl says $code): start again to go on."
    return 1
  fi
}

download() { # folder, address, size in bytes or 0
  local file="$1/${2##*/}" size
  mkdir -p -- "$1"
  if [[ ! -s "$file" ]]; then
    say "downloading $2"
    fetch "$2" "$file" || return 1
    if is_page "$file.part"; then
      rm -f -- "$file.part"
      say "$2 is a web page and no model: the file has moved."
      return 1
    fi
    size=$(wc -c <"$file.part")
    if [[ "$3" != 0 && "$size" -ne "$3" ]]; then
      rm -f -- "$file.part"
      say "$2 has $((size)) bytes and not $3: it is another file, or was cut off."
      return 1
    fi
    mv -- "$file.part" "$file"
    printf '%s\n' "$2" >>"$1/addresses.txt" # the report says where a model came from
  fi
  if [[ "$file" == *.tar.gz ]] && ! tar -xzf "$file" -C "$1"; then
    rm -f -- "$file"
    say "$2 is no archive: start again to download it anew."
    return 1
  fi
}

downloads=$(python -m mixit.published "$@")
while IFS=$'\t' read -r _ folder address size; do
  download "$folder" "$address" "$size" || true # the report says what is missing
done <<<"$downloads"
exec python -m mixit.google.verify "$@" --report "$report"
