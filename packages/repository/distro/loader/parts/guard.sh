# shellcheck shell=dash
# Keeps a livepatch that crashed a host from doing so again. A record is on disk before each load. A livepatch is
# trusted after its soak. A boot that finds records of another one, which ended without an orderly shutdown, quarantines
# some of them.

# record MODULE PHASE UPTIME TRIAL TOOK: new ones last, known ones in their place.
record() {
  local entry="livepatch $1 $boot_id $2 $3 $4 $5"
  state=$(printf '%s\n' "$state" | awk -v module="$1" -v entry="$entry" '
    $1 == "livepatch" && $2 == module { if (!done++) print entry; next }
    NF > 0 { print }
    END { if (!done) print entry }')
}

record_drop() {
  state_drop livepatch "$1"
  state_drop log-from "$1"
}

# A field of a record: 1 module, 2 boot, 3 phase, 4 uptime, 5 trial, 6 took.
record_field() {
  state_lines livepatch | awk -v module="$1" -v field="$2" '$1 == module { print $field; exit }'
}

recorded() {
  state_lines livepatch | awk '{ print $1 }'
}

quarantine() {
  state_drop_pair quarantined "$1"
  state_drop_pair good "$1"
  state_drop_pair trusted "$1"
  state_add "quarantined $build_id $1 $2 $(date -u +%Y-%m-%dT%H:%M:%SZ) $(clean "$3" 500)"
}

# Lines of a key with the build id and a module.
state_drop_pair() {
  state=$(printf '%s\n' "$state" | awk -v key="$1" -v build="$build_id" -v module="$2" 'NF > 0 && !($1 == key && $2 == build && $3 == module)')
}

# "CODE AT TEXT" of a quarantined module.
quarantined() {
  state_lines quarantined | sed -n "s/^$build_id $1 //p" | head -n 1
}

learn() {
  state_has "$1 $build_id $2" || state_add "$1 $build_id $2"
}

# The livepatches to blame for a crash, of the records of the boot that it ended: the rule of packages/host/rules
# (crash.ts, blamedForCrash); a test compares the two. `-`: none, but counted. LAST: the boot that ended with an orderly
# shutdown.
# shellcheck disable=SC2016
blamed() {
  {
    state_lines trusted | sed -n "s/^$build_id /trusted /p"
    state_lines livepatch | sed 's/^/record /'
  } | awk -v boot="$boot_id" -v last="$1" -v cuts="$(state_lines cuts)" -v most="$most_cuts" '
    function upper(list, count,    i) { for (i = int(count / 2) + 1; i <= count; i++) print list[i] }
    $1 == "trusted" { trusted[$2] = 1; next }
    $3 == boot || $3 == last || $4 == "good" { next }
    ($4 == "soak" || $4 == "transition") && $6 == "good" && ($2 in trusted) { sure[++s] = $2; next }
    $4 != "soak" { moving[++m] = $2; next }
    $6 == "new" { fresh[++f] = $2; next }
    { again[++a] = $2 }
    END {
      if (m) for (i = 1; i <= m; i++) print moving[i]
      else if (f) for (i = 1; i <= f; i++) print fresh[i]
      else if (a) upper(again, a)
      else if (s && cuts < most) print "-"
      else upper(sure, s)
    }'
}

# The host went down in a later soak of trusted livepatches.
cut_off() {
  local count
  count=$(state_lines cuts)
  count=$((${count:-0} + 1))
  state_drop cuts
  state_add "cuts $count"
  say "the host went down without an orderly shutdown while livepatches that passed a soak before were watched again: they are not blamed ($count of $most_cuts in a row)"
}

pstore() {
  local entry found=
  for entry in "$root"/sys/fs/pstore/* "$root"/var/lib/systemd/pstore/*; do
    [ ! -e "$entry" ] || found="$found${found:+, }${entry##*/}"
  done
  printf '%s' "${found:-nothing}"
}

# Updates the records to this boot and to what the kernel shows.
reconcile() {
  local module boot phase uptime trial took text last_shutdown
  last_shutdown=$(state_lines shutdown)
  # This boot had begun to shut down, and still runs: that was called off.
  [ "$last_shutdown" != "$boot_id" ] || state_drop shutdown
  if [ -n "$last_shutdown" ] && [ "$last_shutdown" != "$boot_id" ]; then state_drop cuts; fi
  for module in $(blamed "${last_shutdown:--}"); do
    if [ "$module" = - ]; then
      cut_off
      continue
    fi
    text="the host went down without an orderly shutdown while it was in state $(record_field "$module" 3); pstore holds $(pstore)"
    quarantine "$module" crashed "$text"
    problem crashed "$module" "$module is quarantined: $text"
  done
  while read -r module boot phase uptime trial took; do
    [ -n "$module" ] || continue
    if [ "$boot" != "$boot_id" ]; then
      # It ran until an orderly shutdown: good enough to be loaded again, and its soak begins again.
      if [ "$phase" = soak ] && [ "$boot" = "$last_shutdown" ]; then learn good "$module"; fi
      record_drop "$module"
    elif is_enabled "$module"; then
      case $phase in
        loading | transition | reverting)
          read_uptime
          if ! arrived "$module"; then
            record "$module" transition "$uptime" "$trial" -
          elif [ "$phase" = reverting ]; then
            # The revert was never requested.
            record "$module" soak "$now" "$trial" -
          else
            record "$module" soak "$now" "$trial" "$((now > uptime ? now - uptime : 0))"
          fi
          ;;
      esac
    elif [ -d "$livepatch_dir/$module" ] || [ "$module" = "$(insmod_at_work)" ]; then
      # Being reverted, or not loaded yet.
      :
    else
      case $phase in
        loading | reverting) ;;
        *) vanished "$module" ;;
      esac
      record_drop "$module"
    fi
  done <<END
$(state_lines livepatch)
END
  # Of a boot that has ended.
  has_yielded || state_drop yielded
  forget_deferred
  [ "$(state_lines shutdown)" = "$boot_id" ] || state_drop shutdown
}

# Reverted by something else: replaced by a cumulative livepatch, or by an administrator, whose decision stays.
vanished() {
  local other
  if has_yielded; then return 0; fi
  for other in $(livepatches); do
    if is_enabled "$other" && is_cumulative "$other"; then return 0; fi
  done
  quarantine "$1" load-failed 'something else reverted it'
  problem load-failed "$1" "$1 is no longer in force: something else reverted it"
}

# A livepatch that is not known to be stacked may have replaced others.
is_cumulative() {
  [ ! -e "$loaded_dir/$1" ] || grep -q '^kind cumulative$' "$loaded_dir/$1"
}

# is_soaked ELAPSED: hundredths of a second.
is_soaked() {
  [ "$1" -ge "$((soak_seconds * 100))" ]
}

# Trusts what came through its soak when the kernel's log was last read. True if something is still watched.
soak() {
  local module boot phase uptime trial took watched=1
  while read -r module boot phase uptime trial took; do
    case $phase in
      soak)
        if is_soaked "$((watched_at - uptime))" && ! is_condemned "$module"; then
          record "$module" good "$watched_at" "$trial" "$took"
          learn good "$module"
          learn trusted "$module"
          state_drop cuts
        else
          watched=0
        fi
        ;;
      transition | loading) watched=0 ;;
    esac
  done <<END
$(state_lines livepatch)
END
  return "$watched"
}
