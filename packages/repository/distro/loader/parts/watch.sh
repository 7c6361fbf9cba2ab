# shellcheck shell=dash
# Reverts a livepatch that the kernel complains of while it is watched.

# When this run last read the log: livepatches that had passed their soak by then are trusted.
watched_at=0

# The log's last time stamp before a load: only later lines count. By the log's own clock, which drifts against the
# uptime.
log_mark_for() {
  local last=
  state_drop log-from "$1"
  [ -z "$dmesg" ] || last=$(printf '\n%s\n' "$("$dmesg" 2>/dev/null | tail -n 200)" | complaints_in | sed -n 's/^last //p')
  state_add "log-from $1 $boot_id ${last:--}"
}

log_from() {
  state_lines log-from | awk -v module="$1" -v boot="$boot_id" '$1 == module && $2 == boot { print $3; exit }'
}

# Livepatches that are in the kernel and not trusted yet, for `complaints_in`.
suspects() {
  local module boot phase rest from
  state_lines livepatch | while read -r module boot phase rest; do
    case $phase in loading | transition | soak) ;; *) continue ;; esac
    if [ "$boot" != "$boot_id" ] || left "$module"; then continue; fi
    from=$(log_from "$module")
    case $from in
      # If the log could not be read at the load, only lines from now on are certainly not older.
      '' | -) echo "unknown $module" ;;
      *)
        echo "suspect $module $from"
        [ ! -r "$loaded_dir/$module" ] || sed -n 's/^function /patches /p' "$loaded_dir/$module"
        ;;
    esac
  done
}

# Reads the log if a livepatch is watched, and quarantines those that it names.
watch_log() {
  local watched word rest last=
  read_uptime
  watched_at=$now
  watched=$(suspects)
  [ -n "$watched" ] || return 0
  while read -r word rest; do
    case $word in
      complaint) condemn "$rest" ;;
      log) kernel_log="$kernel_log${kernel_log:+$newline}$rest" ;;
      last) last=$rest ;;
    esac
  done <<END
$(
    {
      printf '%s\n\n' "$watched" | grep -v '^unknown '
      [ -z "$dmesg" ] || "$dmesg" 2>/dev/null
    } | complaints_in
  )
END
  if [ -z "$last" ]; then
    problem log-unreadable - "the kernel's log cannot be read, or has no times: complaints are not detected"
    return 0
  fi
  for rest in $(printf '%s\n' "$watched" | sed -n 's/^unknown //p'); do
    state_drop log-from "$rest"
    state_add "log-from $rest $boot_id $last"
  done
}

# condemn "MODULE KIND FUNCTION TITLE"
condemn() {
  local module=${1%% *} kind where text=${1#* }
  kind=${text%% *} text=${text#* }
  where=${text%% *} text=${text#* }
  text="the kernel reported $kind in $where while it was watched: $text"
  # It may still be in force, because the last revert failed.
  is_condemned "$module" || quarantine "$module" kernel-complaint "$text"
  problem kernel-complaint "$module" "$module is reverted: $text"
}

is_condemned() {
  case $(quarantined "$1") in 'kernel-complaint '*) return 0 ;; esac
  return 1
}

# Those to revert, from the top: what the kernel complained of, and what depends on it.
# shellcheck disable=SC2016
condemned() {
  local module
  case $newline$state in *"${newline}quarantined "*' kernel-complaint '*) ;; *) return 0 ;; esac
  {
    running_lines
    for module in $(in_kernel); do
      if is_condemned "$module"; then echo "condemned $module"; fi
    done
  } | awk '
    $1 == "running" { n++; place[n] = $2; name[n] = $4; on[n] = $6 }
    $1 == "condemned" { out[$2] = 1 }
    END {
      do {
        more = 0
        for (i = 1; i <= n; i++) {
          if (name[i] in out) continue
          count = split(on[i], below, ",")
          for (j = 1; j <= count; j++) if (below[j] in out) { out[name[i]] = 1; more = 1; break }
        }
      } while (more)
      for (i = 1; i <= n; i++) if (name[i] in out) print place[i], name[i]
    }' | sort -k 1,1nr | awk '{ print $2 }'
}

# Reverts them. Fails if one cannot be reverted.
expel() {
  local module
  for module in $(condemned); do
    revert "$module" || return 1
  done
}
