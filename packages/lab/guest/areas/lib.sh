# Sourced by every area. A line of output each: `done WHAT`, `absent WHAT` (not in this guest), `failed WHAT: WHY`.
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
work=/var/tmp/kmend-area.$$
mkdir -p "$work"
cd "$work" || exit 1

# Runs one piece of work in a shell of its own, at most so many seconds; its words are told when it fails.
try() { # WHAT SECONDS FUNCTION [ARGUMENT...]
  what=$1 limit=$2
  shift 2
  (set -e; "$@") >"$work/said" 2>&1 </dev/null &
  child=$!
  (exec >/dev/null 2>&1; sleep "$limit"; kill -TERM $child; sleep 5; kill -KILL $child) &
  timer=$!
  wait $child
  status=$?
  kill $timer 2>/dev/null
  wait $timer 2>/dev/null
  case $status in
    0) echo "done $what" ;;
    137 | 143) echo "absent $what: not done within $limit s" ;;
    77) echo "absent $what: $(tail -n 1 "$work/said")" ;;
    *) echo "failed $what: status $status: $(tail -n 3 "$work/said" | paste -sd' ' | cut -c1-300)" ;;
  esac
  # What a piece of work that was broken off has left.
  grep -o " $work/[^ ]*" /proc/mounts | sort -r | while read -r left; do umount -l "$left"; done
  losetup -nO NAME,BACK-FILE | while read -r device file; do case $file in "$work"/*) losetup -d "$device" ;; esac; done
  for ns in $(ip netns list | grep -o '^kmend-[a-z]*'); do ip netns del "$ns"; done
  find "$work" -mindepth 1 -xdev -delete 2>/dev/null
}

# What a piece of work needs; without it, it is not made.
need() { for tool; do command -v "$tool" >/dev/null || { echo "no $tool"; exit 77; }; done; }
module() { for name; do modprobe -q "$name" || { echo "no module $name"; exit 77; }; done; }
# A feature that the kernel may lack: its refusal is no failure.
may() { "$@" || true; }
retry() { for i in 1 2 3 4 5 6 7 8 9 10; do "$@" && return 0; sleep 0.3; done; return 1; }
# Those of the named stressors that this stress-ng has, one process each. What they find is not judged: on a machine this small many a one
# runs out of something. What the kernel says meanwhile is.
stress() { # SECONDS FOLDER NAME...
  seconds=$1 folder=$2
  shift 2
  options=
  for name; do case " $stressors " in *" $name "*) options="$options --$name 1" ;; esac; done
  # shellcheck disable=SC2086
  timeout -k 5 $((seconds + 40)) stress-ng --timeout "$seconds" --temp-path "$folder" --quiet --oomable $options || true
}
stressors=$(stress-ng --stressors 2>/dev/null)
