# Sourced by every area. A line of output each: `done WHAT`, `absent WHAT` (not in this guest), `failed WHAT: WHY`.
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
work=${TMPDIR:-/var/tmp}/kmend-area.$$ log=${XDG_RUNTIME_DIR:-/run}/kmend-area.$$
mkdir -p "$work" "$log"
cd "$work" || exit 1
# A subshell that is killed right after its start has this trap as well, and in it a builtin such as `[` fails.
trap 'case $BASHPID in "$$") cd /; rm -rf --one-file-system "$work" "$log" ;; esac' EXIT

# Runs one piece of work in a shell of its own, at most three times so many seconds; its words are told when it fails.
# With `strict=1` the first command that fails ends it. Without, it goes on, and what failed is told: much of what is
# tried there depends on what a kernel is configured with.
try() { # WHAT SECONDS FUNCTION [ARGUMENT...]
  # On a busy machine a guest without KVM is three times as slow as on one that has nothing else to do.
  what=$1 limit=$(($2 * 3))
  shift 2
  : >"$log/failed"; : >"$log/refused"; : >"$log/lacks"
  # Groups of processes of their own, each to be ended as a whole.
  set -m
  if [ "${strict:-}" = 1 ]; then (set -e; "$@") >"$log/said" 2>&1 </dev/null & else (set -E; trap 'note "$? $BASH_COMMAND: $*"' ERR; "$@"; :) >"$log/said" 2>&1 </dev/null & fi
  child=$!
  (exec >/dev/null 2>&1; sleep "$limit"; kill -TERM -- -$child; sleep 5; kill -KILL -- -$child) &
  timer=$!
  set +m
  wait $child
  status=$?
  kill -TERM -- -$timer 2>/dev/null
  wait $timer 2>/dev/null
  case $status in
    0)
      echo "done $what: $(sort -u "$log/failed" | wc -l) commands failed, $(wc -l <"$log/refused") requests refused; $(sort -u "$log/failed" | head -n 5 | paste -sd';' | cut -c1-500)" ;;
    137 | 143) echo "absent $what: not done within $limit s" ;;
    77) echo "absent $what: $(tail -n 1 "$log/said")" ;;
    *) echo "failed $what: status $status: $(tail -n 3 "$log/said" | paste -sd' ' | cut -c1-300)" ;;
  esac
  sed -n 's/^.*: line [0-9]*: \([^ :]*\): command not found$/\1/p; s/^exec of "\([^"]*\)" failed: No such file.*/\1/p' "$log/said" | sort -u | paste -sd' ' | sed -n "s/^./absent $what's tools: &/p"
  sort -u "$log/lacks" | paste -sd' ' | sed -n "s/^./absent $what's modules: &/p"
  # What a piece of work that was broken off has left.
  grep -o " $work/[^ ]*" /proc/mounts | sort -r | while read -r left; do umount -l "$left"; done
  losetup -nO NAME,BACK-FILE | while read -r device file; do case $file in "$work"/*) losetup -d "$device" ;; esac; done
  for ns in $(ip netns list | grep -o '^kmend-[a-z]*'); do ip netns del "$ns"; done
  find "$work" -mindepth 1 -xdev -delete 2>/dev/null
}

# What a piece of work needs; without it, it is not made.
need() { for tool; do command -v "$tool" >/dev/null || { echo "no $tool"; exit 77; }; done; }
module() { for name; do modprobe -q "$name" || { echo "no module $name"; exit 77; }; done; }
# A feature that a kernel may lack: its refusal is no failure.
may() { "$@" || echo "$*" >>"$log/refused"; }
note() { printf '%s\n' "$1" | tr '\n:' '  ' | sed 's/ip netns exec kmend-[a-z] "$@"//; s/ *$//' | cut -c1-150 >>"$log/failed"; }
# Says which module there is not.
modprobe() { command modprobe "$@" || { local status=$? name; for name; do case $name in -*) ;; *) break ;; esac; done; command modprobe -n -q "$name" || echo "$name" >>"$log/lacks"; return $status; }; }
retry() { for i in 1 2 3 4 5 6 7 8 9 10; do "$@" && return 0; sleep 0.3; done; return 1; }
# Those of the named stressors that this stress-ng has, one process each. What they find is not judged: on a machine
# this small many a one runs out of something. What the kernel says meanwhile is.
stress() { # SECONDS FOLDER NAME...
  local seconds=$1 folder=$2 options= name
  shift 2
  for name; do case " $stressors " in *" $name "*) options="$options --$name 1" ;; esac; done
  # shellcheck disable=SC2086
  timeout -k 5 $((seconds + 40)) stress-ng --timeout "$seconds" --temp-path "$folder" --quiet --oomable --vm-bytes 16M --mmap-bytes 16M --shm-bytes 4M --hdd-bytes 8M --fallocate-bytes 8M --fork-max 8 $options || true
}
stressors=$(stress-ng --stressors 2>/dev/null)
[ -n "$stressors" ] || echo "absent ${0##*/} with stress-ng: not in this guest"
