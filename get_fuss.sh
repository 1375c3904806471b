#!/usr/bin/env bash
# Downloads FUSS from Zenodo, checks it, and unpacks it for run_train_model_on_fuss.sh.
#
#   ./get_fuss.sh                  dry mixtures: 8.9 GB, about 25 GB more unpacked
#   ./get_fuss.sh reverberant      reverberant mixtures: 7.9 GB, about 25 GB more
#   ./get_fuss.sh sources rooms    single sounds and room impulse responses, for new mixtures
#   ./get_fuss.sh licence          the licence texts
#   ./get_fuss.sh all              all of these
#
# After an interruption the same command continues; complete parts are neither downloaded
# nor unpacked again. Needs curl, tar, gzip, GNU coreutils and findutils.
#   ROOT_DIR            where everything is written; default: the folder runs beside this file
#   DOWNLOAD_DIR        folder of the archives; default $ROOT_DIR/download
#   DEV_DATA_DIR        folder of the mixtures; default $ROOT_DIR/fuss_dev
#   RAW_DATA_DIR        folder of sources and rooms; default $ROOT_DIR/fuss_sources_and_rirs
#   FUSS_URL            address of the folder of the archives, for a mirror or your own set
#   FUSS_RECORD_URL     JSON with their sizes and md5 sums; empty: no such check
#   FUSS_RETRY_SECONDS  pause after a broken connection, doubled each time; default 2
# The set is CC BY 4.0, its source clips are CC0 from freesound.org (FSD50K).
set -euo pipefail
repo=$(dirname -- "$(realpath -- "${BASH_SOURCE[0]}")")
root=${ROOT_DIR:-$repo/runs}
downloads=${DOWNLOAD_DIR:-$root/download}
mixtures=${DEV_DATA_DIR:-$root/fuss_dev}
raw=${RAW_DATA_DIR:-$root/fuss_sources_and_rirs}
page=https://zenodo.org/records/3743844
base=${FUSS_URL:-$page/files}
record=${FUSS_RECORD_URL-https://zenodo.org/api/records/3743844}
retry_seconds=${FUSS_RETRY_SECONDS:-2}
ask=(--silent --location --fail --connect-timeout 30 --max-time 120)
work='' child='' unpacking=''

say() { printf '%s\n' "$*"; }

warn() { printf 'get_fuss.sh: %s\n' "$*" >&2; }

fail() {
  warn "$@"
  exit 1
}

run() { # command; in the background, so that a signal is handled at once
  local code=0
  "$@" <&0 &
  child=$!
  wait "$child" || code=$?
  child=
  return "$code"
}

stop() { # exit code
  trap '' INT TERM HUP
  if [[ -n "$child" ]]; then
    kill "$child" && wait "$child" || true
  fi
  warn "stopped: the download so far stays in $downloads; the same command continues it."
  exit "$1"
}

describe() { # part; sets archive, goal and what the unpacked folder must hold
  needs=({train,validation,eval}_example_list.txt)
  case "$1" in
    dry) goal=$mixtures/ssdata ;;
    reverberant) goal=$mixtures/ssdata_reverb ;;
    sources) goal=$raw/fsd_data needs=(train validation eval) ;;
    rooms) goal=$raw/rir_data needs=(train validation eval) ;;
    licence) goal=$mixtures/license_doc needs=(LICENSE-DATASET) ;;
  esac
  archive=FUSS_${goal##*/}.tar.gz
  file=$downloads/$archive
  partial=$file.partial
  url=${base%/}/$archive
}

bytes() { stat -L -c %s -- "$1" 2>/dev/null || echo 0; } # file

human() { # bytes
  LC_ALL=C numfmt --to=si --round=nearest --format=%.1f --suffix=B -- "$1" |
    sed 's/[A-Za-z]*$/ &/; s/K/k/' # numfmt writes K or k, by its version
}

is_gzip() { # file; two bytes tell an archive from a web page
  [[ -e "$1" && "$(head -c 2 -- "$1" | od -An -tx1)" == " 1f 8b" ]]
}

ask_record() { # sets size and md5, from the object of the archive
  local text='' object part='([^{}]|\{[^{}]*\})*'
  size='' md5=''
  [[ -n "$record" ]] || return 0
  if [[ ! -e "$work/record" ]]; then
    run curl "${ask[@]}" --retry 2 -- "$record" >"$work/record" || : >"$work/record"
  fi
  object="\{$part\"key\":\"${archive//./\\.}\"$part\}"
  if [[ "$(tr -d '\0 \t\r\n' <"$work/record")" =~ $object ]]; then text=${BASH_REMATCH[0]}; fi
  if [[ "$text" =~ \"size\":([0-9]+) ]]; then size=${BASH_REMATCH[1]}; fi
  if [[ "$text" =~ \"checksum\":\"md5:([0-9a-f]{32})\" ]]; then md5=${BASH_REMATCH[1]}; fi
  [[ -n "$size" && -n "$md5" ]] ||
    warn "$record has no size and md5 sum of $archive: it is checked by the size that the server states and by gzip -t."
}

ask_server() { # sets size where the last of its answers names it
  local name value
  run curl "${ask[@]}" --head -- "$url" >"$work/head" || return 0
  while IFS=': ' read -r name value; do
    case "$name" in
      HTTP/*) size= ;;
      [Cc]ontent-[Ll]ength) size=${value//[!0-9]/} ;;
    esac
  done <"$work/head"
  if [[ "$size" == 0 ]]; then size=; fi
}

see_room() { # folder, bytes that go there
  local line free
  line=$(df -Pk -- "$1" | tail -n 1) || return 0
  [[ "$line" =~ [[:space:]]([0-9]+)[[:space:]]+(-|[0-9]+%)[[:space:]] ]] || return 0
  free=$((BASH_REMATCH[1] * 1024))
  ((free >= $2)) ||
    fail "$archive needs $(human "$2") in $1, where $(human "$free") are free: make room, or name a folder on another disk by ROOT_DIR."
}

see_rooms() { # the wav files take up to three times the room of their archive
  local rest=0 unpacked=$((3 * ${size:-0})) folder=${goal%/*}
  if [[ -n "$size" && ! -e "$file" ]]; then rest=$((size - $(bytes "$partial"))); fi
  if [[ "$(stat -L -c %d -- "$downloads")" == "$(stat -L -c %d -- "$folder")" ]]; then
    see_room "$folder" $((rest + unpacked))
  else
    see_room "$downloads" "$rest"
    see_room "$folder" "$unpacked"
  fi
}

look() { # file; sets fault to what is wrong with it
  local found
  fault=
  found=$(bytes "$1")
  if ! is_gzip "$1"; then
    fault='is no gzip archive'
  elif [[ -n "$size" && "$found" != "$size" ]]; then
    fault="has $found bytes and not $size"
  elif [[ -n "$md5" ]]; then
    run md5sum <"$1" >"$work/md5"
    read -r found _ <"$work/md5"
    if [[ "$found" != "$md5" ]]; then fault="has the md5 sum $found and not $md5"; fi
  elif ! run gzip -t <"$1" 2>/dev/null; then
    fault='is damaged, says gzip -t'
  fi
}

fetch() { # continues the partial file to its end; resumed=0 where that was refused
  # curl's own --retry would throw away what it had received before a break.
  local options=(--location --fail --connect-timeout 30 --speed-limit 1 --speed-time 60)
  local code http before tries=0 pause=$retry_seconds resumable=true received=false
  if [[ -t 2 ]]; then options+=(--progress-bar); else options+=(--silent --show-error); fi
  while :; do
    before=$(bytes "$partial")
    code=0
    run curl "${options[@]}" --continue-at - --output "$partial" \
      --write-out '%{http_code} %{content_type}\n' -- "$url" >"$work/answer" || code=$?
    read -r http sent <"$work/answer" || true
    if (($(bytes "$partial") > before)); then
      received=true
      if "$resumable"; then tries=0 pause=$retry_seconds; fi
    fi
    case "$code $http" in
      0\ * | *\ 416) return ;; # 416: there is no rest; look says whether it is whole
      33\ *)
        [[ "$sent" != text/html* ]] || fail "$url sends a web page now: start again later to go on, or see $page."
        say "The server cannot resume a download: starting again."
        rm -f -- "$partial"
        resumed=0 resumable=false
        continue
        ;;
      18\ * | 28\ * | 35\ * | 52\ * | 55\ * | 56\ * | 92\ *) ;;
      22\ 408 | 22\ 425 | 22\ 429 | 22\ 5??) ;;
      22\ *) fail "$url cannot be had (the server says $http): look for the file on $page and set FUSS_URL to its folder." ;;
      23\ *) fail "$partial cannot be written: make room on that disk, then start again to go on." ;;
      [567]\ *)
        "$received" || fail "$url cannot be reached (curl says $code): connect to the network, then start again."
        ;;
      *) fail "$url could not be downloaded (curl says $code): start again to go on." ;;
    esac
    tries=$((tries + 1))
    ((tries <= 5)) ||
      fail "$url broke off $tries times in a row (curl says $code, the server $http): start again later to go on."
    say "Interrupted at $(human "$(bytes "$partial")"): continuing in $pause s."
    run sleep "$pause"
    pause=$((pause * 2))
  done
}

download() { # leaves the right file, or fails
  local resumed sent
  if [[ -e "$file" ]]; then
    look "$file"
    if [[ -z "$fault" ]]; then
      say "$file is complete: it is not downloaded again."
      return
    fi
    say "$file $fault: downloading it again."
    # wget and browsers leave a cut file under the name of the whole one.
    if is_gzip "$file" && [[ ! -e "$partial" ]]; then mv -- "$file" "$partial"; fi
  fi
  while :; do
    resumed=$(bytes "$partial")
    if ! is_gzip "$partial"; then # a web page must not be continued
      rm -f -- "$partial"
      resumed=0
    fi
    if ((resumed > 0)); then say "Continuing $archive at $(human "$resumed")."; fi
    if ((resumed == 0 || resumed != ${size:-0})); then fetch; fi
    look "$partial"
    if [[ -z "$fault" ]]; then break; fi
    rm -f -- "$partial"
    ((resumed > 0)) ||
      fail "$url sent a file (${sent:-of no type}) that $fault, so it was deleted: look for the right one on $page and set FUSS_URL to its folder, or FUSS_RECORD_URL= for a set of your own."
    say "$partial $fault: starting again."
  done
  mv -f -- "$partial" "$file"
}

lacking() { # folder; prints the first thing that it ought to hold and does not
  local name each fields
  for name in "${needs[@]}"; do
    fields=()
    if [[ "$name" == *_list.txt && -e "$1/$name" ]]; then
      IFS=$'\t\r' read -ra fields < <(tail -n 1 -- "$1/$name") || true
    fi
    for each in "$name" "${fields[@]:1}"; do # the mixture's own file is never read
      if [[ ! -e "$1/$each" && ! ("$each" == /* && -e "$each") ]]; then
        echo "$each"
        return
      fi
    done
  done
}

is_unpacked() { # refuses a folder of something else
  local missing
  [[ -e "$goal" || -L "$goal" ]] || return 1
  missing=$(lacking "$goal")
  if [[ -z "$missing" ]]; then return; fi
  if rmdir -- "$goal" 2>/dev/null; then return 1; fi
  fail "$goal exists and lacks $missing: move or delete it, then start again."
}

unpack() { # into a folder beside the goal, which is moved when it is whole
  local found missing
  unpacking=$goal.unpacking
  say "Unpacking $archive into $goal."
  mkdir -- "$unpacking"
  run tar -xzf "$file" -C "$unpacking" --no-same-owner --no-same-permissions ||
    fail "$file could not be unpacked into ${goal%/*}: see the lines above."
  # Archives nest the folder differently: the outermost is the right one.
  found=$(find "$unpacking" -maxdepth 4 -name "${needs[0]}" -printf '%d %h\n' |
    sort -n | sed -n '1s/^[0-9]* //p')
  [[ -n "$found" ]] || fail "$file holds no ${needs[0]}: it is another archive; delete it and start again."
  missing=$(lacking "$found")
  [[ -z "$missing" ]] || fail "$file lacks $missing: it is another archive; delete it and start again."
  mv -T -- "$found" "$goal"
  rm -rf -- "$unpacking"
  unpacking=
  say "$file is no longer needed: delete it to free $(human "$(bytes "$file")")."
}

count_examples() { # beside the published numbers
  local name numbers=()
  for name in "${needs[@]}"; do
    numbers+=("$(grep -c '[^[:space:]]' -- "$goal/$name" || true)")
  done
  say "$goal holds ${numbers[0]} training, ${numbers[1]} validation and ${numbers[2]} evaluation examples."
  [[ "${numbers[*]}" == '20000 1000 1000' ]] ||
    warn "the published set has 20000, 1000 and 1000 examples: $goal holds another set."
}

get() { # part
  describe "$1"
  mkdir -p -- "$downloads" "${goal%/*}"
  if is_unpacked; then
    say "$goal is complete: nothing to download."
  else
    ask_record
    if [[ -z "$size" ]]; then ask_server; fi
    say "$archive: $(if [[ -n "$size" ]]; then human "$size"; else echo 'of unknown size'; fi)"
    rm -rf -- "$goal.unpacking" # of a run that was killed
    see_rooms
    download
    unpack
  fi
  if [[ "${needs[0]}" == *_list.txt ]]; then count_examples; fi
}

for word in "$@"; do
  case "$word" in
    -h | --help)
      sed -n '1d;/^#/!q;s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit
      ;;
    dry | reverberant | sources | rooms | licence | all) ;;
    *)
      warn "$word is unknown: name dry, reverberant, sources, rooms, licence or all."
      exit 2
      ;;
  esac
done
if [[ ! "$retry_seconds" =~ ^[0-9]+$ ]]; then
  warn "FUSS_RETRY_SECONDS=$retry_seconds is not a whole number of seconds: set it to 2."
  exit 2
fi
for program in curl tar gzip md5sum stat; do
  command -v "$program" >/dev/null ||
    fail "$program is not installed: run 'apt-get install curl tar gzip coreutils' as root."
done
words=" ${*:-dry} "
if [[ "$words" == *' all '* ]]; then words=' dry reverberant sources rooms licence '; fi

work=$(mktemp -d)
trap 'rm -rf -- "${work:?}" "${unpacking:-$work}"' EXIT
trap 'stop 130' INT
trap 'stop 143' TERM HUP
mkdir -p -- "$downloads"
if command -v flock >/dev/null; then
  exec 9<"$downloads"
  if ! flock -n 9; then
    say "Another get_fuss.sh is running in $downloads: waiting for it."
    run flock 9
  fi
fi
for word in dry reverberant sources rooms licence; do
  if [[ "$words" == *" $word "* ]]; then get "$word"; fi
done

if [[ "$words" == *' dry '* || "$words" == *' reverberant '* ]]; then
  mixtures=$(CDPATH='' cd -- "$mixtures" && pwd)
  places=()
  if [[ "$words" == *' dry '* ]]; then places+=("${mixtures%/fuss_dev}"); fi
  if [[ "$words" == *' reverberant '* ]]; then places+=("$mixtures/ssdata_reverb"); fi
  say ""
  say "Train on it by:"
  for each in "${places[@]}"; do
    say "  FUSS_ROOT_DIR=$(printf %q "$each") $(printf %q "$repo/run_train_model_on_fuss.sh")"
  done
fi
