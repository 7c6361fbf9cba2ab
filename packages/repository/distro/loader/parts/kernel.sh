# shellcheck shell=dash
# Reads the state of the kernel.

# Reads the first line of a file into `line`; empty if it cannot be read.
line=
read_line() {
  line=
  { read -r line <"$1"; } 2>/dev/null || :
}

# Hundredths of a second since boot, in `now`: the wall clock may jump.
now=0
read_uptime() {
  read_line "$root/proc/uptime"
  now=${line%% *}
  case $now in
    *[!0-9.]* | '' | *.*.*) now=0 ;;
    *.??) now=${now%.*}${now#*.} ;;
    *) now=${now%%.*}00 ;;
  esac
  # A leading zero would be octal.
  now=${now#"${now%%[!0]*}"}
  now=${now:-0}
}

# The GNU build id among the ELF notes of the running kernel: words namesz, descsz, type, then name and descriptor, each
# padded to four bytes.
# shellcheck disable=SC2016
read_build_id() {
  build_id=$(od -An -v -tx1 -N 65536 "$root/sys/kernel/notes" 2>/dev/null | awk '
    function hex(s) { return 16 * (index("0123456789abcdef", substr(s, 1, 1)) - 1) + index("0123456789abcdef", substr(s, 2, 1)) - 1 }
    function word(at) { return hex(byte[at]) + 256 * (hex(byte[at + 1]) + 256 * (hex(byte[at + 2]) + 256 * hex(byte[at + 3]))) }
    function padded(size) { return 4 * int((size + 3) / 4) }
    { for (i = 1; i <= NF; i++) byte[n++] = $i }
    END {
      for (at = 0; at + 12 <= n; at = start + padded(size)) {
        name = word(at); size = word(at + 4); start = at + 12 + padded(name)
        if (start + size > n) exit
        if (name == 4 && word(at + 8) == 3 && byte[at + 12] byte[at + 13] byte[at + 14] byte[at + 15] == "474e5500") {
          for (i = 0; i < size; i++) printf "%s", byte[start + i]
          exit
        }
      }
    }')
  [ "${#build_id}" -eq 40 ]
}

build_id=
boot_id=
release=
read_kernel() {
  read_line "$root/proc/sys/kernel/osrelease"
  release=$line
  read_line "$root/proc/sys/kernel/random/boot_id"
  boot_id=$line
  case $boot_id in '' | *[!0-9a-f-]*) return 1 ;; esac
  read_build_id
}

is_enabled() {
  read_line "$livepatch_dir/$1/enabled"
  [ "$line" = 1 ]
}

in_transition() {
  read_line "$livepatch_dir/$1/transition"
  [ "$line" = 1 ]
}

# Every livepatch that the kernel shows, foreign ones included.
livepatches() {
  local entry
  for entry in "$livepatch_dir"/*; do
    [ ! -d "$entry" ] || printf '%s\n' "${entry##*/}"
  done
}

# A livepatch in transition. A disabled one is shown only until its revert ends.
moving() {
  local name
  for name in $(livepatches); do
    if in_transition "$name" || ! is_enabled "$name"; then
      printf '%s\n' "$name"
      return 0
    fi
  done
  return 1
}

switched_off() {
  local word last=
  read_line "$root/proc/cmdline"
  # As the kernel takes its own parameters: the last one counts.
  set -f
  for word in $line; do
    case $word in kmend=*) last=$word ;; esac
  done
  set +f
  if [ "$last" = kmend=off ]; then
    echo 'kmend=off on the kernel command line'
  elif [ -e "$off_file" ]; then
    echo '/etc/kmend-livepatch/off is there'
  else
    return 1
  fi
}

# Why this kernel should get no livepatch: "code text".
unsound() {
  if [ ! -d "$livepatch_dir" ]; then
    echo 'kernel-without-livepatch the running kernel has no /sys/kernel/livepatch'
    return 0
  fi
  read_line "$root/proc/sys/kernel/modules_disabled"
  if [ "$line" = 1 ]; then
    echo 'modules-disabled the kernel loads no more modules in this boot (kernel.modules_disabled = 1)'
    return 0
  fi
  read_line "$root/proc/sys/kernel/ftrace_enabled"
  if [ "$line" = 0 ]; then
    echo 'conflict-ftrace ftrace is switched off (kernel.ftrace_enabled = 0): livepatches need it'
    return 0
  fi
  read_line "$root/proc/sys/kernel/tainted"
  tainted "$line"
}

# tainted MASK: "code text" if the kernel's taint forbids a load. A mask must be a number of at most 18 digits.
tainted() {
  case $1 in
    '' | *[!0-9]* | ???????????????????*)
      echo 'kernel-unknown the kernel does not say whether it is tainted (is /proc mounted?)'
      return 0
      ;;
  esac
  # A leading zero would be octal.
  local mask=${1#"${1%%[!0]*}"}
  [ "$((${mask:-0} & taint_refusing))" -ne 0 ] || return 1
  echo "kernel-tainted the kernel is tainted ($1): it crashed, met a hardware error, or had modules forced"
}

# Tasks that have not switched yet: "name (pid)", five at most. WANTED: the state of those that have.
blockers() {
  local file task found=0 list=
  for file in "$root"/proc/[0-9]*/task/[0-9]*/patch_state; do
    read_line "$file"
    case $line in '' | -1 | "$1") continue ;; esac
    task=${file%/patch_state}
    read_line "$task/comm"
    found=$((found + 1))
    [ "$found" -gt 5 ] || list="$list${list:+, }$(clean "$line" 32) (${task##*/})"
  done
  [ "$found" -le 5 ] || list="$list and $((found - 5)) more"
  printf '%s' "${list:-no task in particular}"
}

available_memory() {
  sed -n 's/^MemAvailable: *\([0-9]\{1,12\}\) kB$/\1/p' "$root/proc/meminfo" 2>/dev/null
}

# The kernel log's last line, as a mark for what comes after it.
log_mark() {
  [ -z "$dmesg" ] || "$dmesg" 2>/dev/null | tail -n 1
}

# Its lines after MARK, without their times, twenty at most.
# shellcheck disable=SC2016
log_since() {
  [ -n "$dmesg" ] || return 0
  "$dmesg" 2>/dev/null | awk -v mark="$(printf '%s' "$1" | sed 's/\\/\\\\/g')" '
    { line[NR] = $0; if ($0 == mark) at = NR }
    END {
      from = at + 1
      if (NR - from >= 20) from = NR - 19
      for (i = from; i <= NR; i++) { sub(/^\[[^]]*\] */, "", line[i]); print substr(line[i], 1, 300) }
    }' | tr '\011' ' ' | tr -d '\000-\010\013-\037\177'
}
