# shellcheck shell=dash
# One at a time. The lock is held by an open file, so it ends with the process and with whatever it started (an insmod
# that is still at it).

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
    # Whoever holds it may have looked before what brought us here was there.
    (: >"$busy_flag") 2>/dev/null
    die busy 'another kmend-livepatch is at work'
  fi
  locked=yes
  # What a life that was killed left behind.
  rm -rf "$private_dir"/load-* "$private_dir"/check-* "$run_state.new" "$state_file.new"
  if ! reason=$(mkdir -p "$loaded_dir" 2>&1 && chmod 0700 "$private_dir" 2>&1); then
    die "$(disk_code "$reason")" "$private_dir cannot be written: $(clean "$reason" 200)"
  fi
}
