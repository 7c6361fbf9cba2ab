# shellcheck shell=dash
# One run at a time. An open file holds the lock, so that it ends with the process and the processes that it started (an
# insmod that still runs).

locked=no

# lock SECONDS
lock() {
  local reason
  if ! reason=$(mkdir -p "$run_dir" 2>&1) || ! reason=$( (: >>"$run_dir/lock") 2>&1); then
    die "$(disk_code "$reason")" "$run_dir cannot be written: $(clean "$reason" 200)"
  fi
  [ -n "$flock" ] || die tool-failed 'there is no flock'
  exec 9>>"$run_dir/lock"
  if ! "$flock" -w "$1" 9; then
    # The holder may have read the packages before the change that started this run.
    (: >"$busy_flag") 2>/dev/null
    die busy 'another kmend-livepatch is running'
  fi
  locked=yes
  # Files of a run that was killed.
  rm -rf "$private_dir"/load-* "$private_dir"/check-* "$run_state.new" "$state_file.new"
  if ! reason=$(mkdir -p "$loaded_dir" 2>&1 && chmod 0700 "$private_dir" 2>&1); then
    die "$(disk_code "$reason")" "$private_dir cannot be written: $(clean "$reason" 200)"
  fi
}
