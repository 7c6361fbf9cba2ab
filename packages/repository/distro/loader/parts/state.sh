# shellcheck shell=dash
# What is kept over boots: lines of `key value`, written to a temporary file, synced, renamed. Nothing is asked of the
# kernel before the state is on disk.
#
#   outcome AT CODE TEXT                 how the last run ended
#   problem CODE SUBJECT TEXT            what it reported
#   kernel-log TEXT                      the kernel's messages of the last refusal
#   log-from MODULE BOOT SECONDS         the kernel's log up to then is older than the load
#   deferred MODULE BOOT TRIES UPTIME    its transition was reversed, and is retried from that uptime on
#   livepatch MODULE BOOT PHASE UPTIME TRIAL TOOK
#                                        a load, in order. PHASE: loading, transition, soak, good, reverting;
#                                        UPTIME: its begin, TOOK: the transition, hundredths of a second
#   good BUILD-ID MODULE                 passed a soak once, or ran until an orderly shutdown
#   trusted BUILD-ID MODULE              passed a whole soak once
#   cuts COUNT                           boots in a row without an orderly shutdown; only trusted ones soaked in them
#   quarantined BUILD-ID MODULE CODE AT TEXT
#   hold out|stay AT, held MODULE        an administrator's order, and what was in force then
#   yielded AT [BOOT], over MODULE       who drives; BOOT: in that boot alone
#   shutdown BOOT                        that boot ended with an orderly shutdown
#   not-needed BUILD-ID                  a verified statement says that this kernel needs no livepatch yet
#   machine ID                           the machine that the state belongs to (/etc/machine-id)
state_header='kmend-livepatch-state 1'
state_keys='outcome|problem|kernel-log|log-from|deferred|livepatch|good|trusted|cuts|quarantined|hold|held|yielded|over|shutdown|not-needed|machine'
state=

state_load() {
  local file=$state_file first=
  state=
  if [ -f "$run_state" ]; then
    { read -r first <"$run_state"; } 2>/dev/null
    if [ "$first" = "$state_header" ]; then file=$run_state; fi
  fi
  [ -e "$file" ] || return 0
  { read -r first <"$file"; } 2>/dev/null
  if [ "$first" = "$state_header" ] && [ "$(stat -c %s "$file")" -le "$state_limit" ]; then
    state=$(sed -n -E "2,\$ { /^($state_keys) /p; }" "$file")
    return 0
  fi
  case $first in
    'kmend-livepatch-state '[1-9]*) return 2 ;;
  esac
  return 1
}

# The values of each line of a key. Most keys have none: then no process is started.
state_lines() {
  state_has "$1" || return 0
  printf '%s\n' "$state" | sed -n "s/^$1 //p"
}

# Whether there is a line of these words, or one that begins with them.
state_has() {
  case $newline$state$newline in *"$newline$1 "* | *"$newline$1$newline"*) return 0 ;; esac
  return 1
}

# Whether the agent drives this host: permanently, or in this boot.
has_yielded() {
  local word
  word=$(state_lines yielded)
  case $word in
    '') return 1 ;;
    *' '*) [ "${word#* }" = "$boot_id" ] ;;
  esac
}

# state_drop KEY [WORD]: the lines of a key, or those of them that begin with WORD.
state_drop() {
  state_has "$1${2:+ $2}" || return 0
  state=$(printf '%s\n' "$state" | awk -v key="$1" -v word="${2-}" 'NF > 0 && !($1 == key && (word == "" || $2 == word))')
}

# Keeps the last COUNT lines of a key, so that the state never exceeds its limit.
state_keep_last() {
  state_has "$1" || return 0
  state=$(printf '%s\n' "$state" | awk -v key="$1" -v count="$2" '
    { line[NR] = $0; if ($1 == key) all++ }
    END { for (i = 1; i <= NR; i++) if (split(line[i], word, " ") && (word[1] != key || ++seen > all - count)) print line[i] }')
}

state_add() {
  state="$state$newline$1"
}

# Writes TEXT to FILE so that a crash leaves the old one or the new one. Fails with the reason in `write_error`.
write_error=
write_file() {
  local file=$1 new=$1.new directory=${1%/*}
  write_error=$( { printf '%s\n' "$2" | cat >"$new" && sync "$new" && mv -f "$new" "$file" && sync "$directory"; } 2>&1 >/dev/null) &&
    [ "$(cat "$file" 2>/dev/null)" = "$2" ] && return 0
  rm -f "$new" 2>/dev/null
  write_error=${write_error:-"$file cannot be written"}
  return 1
}

# Makes the state durable. If that fails it is kept in /run, and the problem is reported: then nothing may be asked of
# the kernel.
state_save() {
  local text reason
  text=$(printf '%s\n%s\n' "$state_header" "$state" | sed '/^$/d')
  if reason=$(mkdir -p "$state_dir" 2>&1) && write_file "$state_file" "$text"; then
    rm -f "$run_state"
    return 0
  fi
  reason=${reason:-$write_error}
  problem "$(disk_code "$reason")" - "cannot write the state, so nothing is asked of the kernel: $(clean "$reason" 200)"
  write_file "$run_state" "$text" || :
  return 1
}

known_problem() {
  case $newline$state in *"${newline}problem $1 $2 "*) return 0 ;; esac
  return 1
}
