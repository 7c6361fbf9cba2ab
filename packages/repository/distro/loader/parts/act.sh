# shellcheck shell=dash
# One step at a time: loads or reverts one livepatch. Each fails if nothing more can be done in this run.

# After this uptime no new step begins (0: no limit).
deadline=0

# wait_for LIMIT COMMAND...: waits until it is true. Counts its own sleeps too, in case the clock stands still.
wait_for() {
  local limit=$1 slept=0 start
  shift
  read_uptime
  start=$now
  until "$@"; do
    read_uptime
    if [ "$((now - start))" -ge "$limit" ] || [ "$slept" -ge "$limit" ]; then return 1; fi
    if [ "$slept" -lt 200 ]; then
      "$sleep" 0.1
      slept=$((slept + 10))
    else
      "$sleep" 0.5
      slept=$((slept + 50))
    fi
  done
}

arrived() {
  ! in_transition "$1"
}

left() {
  [ ! -d "$livepatch_dir/$1" ]
}

unloaded() {
  [ ! -d "$module_dir/$1" ] || { [ -n "$rmmod" ] && "$rmmod" "$1" >/dev/null 2>&1; }
}

# Unloads modules of the packages that are no longer livepatches: replaced, reverted, or left by a run that was killed.
tidy() {
  local entry module limit=${1:-0}
  for entry in "$module_dir"/kmend_*; do
    module=${entry##*/}
    if [ ! -d "$entry" ] || ! left "$module" || ! is_ours "$module"; then continue; fi
    wait_for "$limit" unloaded "$module" || :
  done
  # Manifests of those that are unloaded.
  for entry in "$loaded_dir"/*; do
    [ -d "$module_dir/${entry##*/}" ] || rm -f "$entry"
  done
}

seconds() {
  printf '%d.%02d' "$(($1 / 100))" "$(($1 % 100))"
}

# refused MODULE SAID STATUS MARK: what insmod's failure means.
refused() {
  local module=$1 said=$2 code
  case $3 in
    ended) code=load-hung ;;
    126 | 127 | 1[3-9][0-9] | 2??) code=tool-failed ;;
    *) code=$(refusal_of "$said") ;;
  esac
  if [ "$code" = load-refused ]; then
    kernel_log=$(log_since "$4")
    quarantine "$module" load-refused "the kernel refused it: $said"
    problem load-refused "$module" "the kernel refused $module: $said"
  else
    problem "$code" "$module" "$module was not loaded for a reason of the host: $said"
  fi
}

# load MODULE. Fails with 2 if the kernel complained of it at once.
load() {
  local module=$1 package kind directory size sha256 staged trial said mark took patience=$unload_limit
  # No field holds a space.
  # shellcheck disable=SC2046
  set -- $(installed_line "$module")
  kind=$2 package=$4 directory=$7 size=$8 sha256=$9
  read_uptime
  if [ "$deadline" -gt 0 ] && [ "$now" -ge "$deadline" ]; then
    problem unfinished "$module" "the time limit was reached; $module and the livepatches above it are not loaded yet"
    return 1
  fi
  if [ -z "$insmod" ]; then
    problem tool-failed "$module" 'there is no insmod'
    return 1
  fi
  # Reported by the last run already: one attempt is enough.
  if known_problem conflict-module "$module"; then patience=0; fi
  if [ -d "$module_dir/$module" ] && left "$module" && ! wait_for "$patience" unloaded "$module"; then
    problem conflict-module "$module" "$module is in memory, not in force, and cannot be unloaded"
    return 1
  fi
  staged=$private_dir/load-$module.ko
  if ! said=$( (umask 077 && cp "$directory/livepatch.ko" "$staged" && cp "$directory/manifest" "$private_dir/check-manifest") 2>&1); then
    rm -f "$staged"
    problem "$(disk_code "$said")" "$module" "cannot copy it to /run: $said"
    return 1
  fi
  # Loads exactly what it verified: signature, size and hash of the copies that only root can reach.
  if said=$(unsigned "$private_dir/check-manifest" "$directory/manifest.sig") ||
    said=$(another_manifest "$private_dir/check-manifest" "$module" "$sha256") ||
    said=$(not_the_bytes "$staged" "$size" "$sha256"); then
    rm -f "$staged"
    problem "${said%% *}" "$package" "$package: ${said#* }"
    return 1
  fi
  mv -f "$private_dir/check-manifest" "$loaded_dir/$module"
  trial=new
  if state_has "good $build_id $module"; then trial=good; fi
  mark=$(log_mark)
  log_mark_for "$module"
  read_uptime
  took=$now
  record "$module" loading "$now" "$trial" -
  if ! state_save; then
    record_drop "$module"
    rm -f "$staged" "$loaded_dir/$module"
    return 1
  fi
  insert "$module" "$staged"
  rm -f "$staged"
  # sysfs shows the outcome, however insmod ended.
  if [ "$insert_status" = at-work ] && ! is_enabled "$module"; then
    problem load-hung "$module" "insmod of $module did not return within $insmod_seconds seconds and cannot be killed"
    state_save || :
    return 1
  fi
  if [ "$insert_status" != 0 ] && ! is_enabled "$module"; then
    record_drop "$module"
    rm -f "$loaded_dir/$module"
    refused "$module" "$(clean "$insert_said" 300)" "$insert_status" "$mark"
    state_save || :
    return 1
  fi
  read_uptime
  record "$module" transition "$now" "$trial" -
  # If this fails, the record before it suffices.
  state_save || :
  follow "$module" "$took" || return 1
  say "$module ($package) is in force"
  [ "$kind" = stacked ] || replaced
  watch_log
  ! is_condemned "$module" || return 2
}

# Whether it changed since it was verified: "code text".
another_manifest() {
  [ "$(manifest_read "$1" 2>/dev/null | awk '{ print $3, $9 }')" != "$2 $3" ] || return 1
  echo 'package-incomplete it changed during verification'
}

# Follows a transition to its end, within the wait limit. SINCE: uptime at which it began.
follow() {
  local module=$1 since=$2 trial
  if ! wait_for "$wait_limit" arrived "$module"; then
    if is_overdue "$module"; then
      take_back "$module"
    else
      problem transition-stuck "$module" "the transition of $module has not ended; blocked by: $(blockers 1)"
    fi
    return 1
  fi
  if ! is_enabled "$module"; then
    record_drop "$module"
    quarantine "$module" load-failed 'something else reverted it during its transition'
    problem load-failed "$module" "something else reverted $module during its transition"
    return 1
  fi
  read_uptime
  trial=$(record_field "$module" 5)
  record "$module" soak "$now" "${trial:-new}" "$((now > since ? now - since : 0))"
  state_drop deferred "$module"
  state_save || :
}

# After a cumulative livepatch: what it replaced is no longer a livepatch.
replaced() {
  local module
  tidy "$unload_limit"
  for module in $(recorded); do
    if left "$module"; then record_drop "$module"; fi
  done
  state_drop over
  state_save || :
}

# revert MODULE
revert() {
  local module=$1 said trial
  trial=$(record_field "$module" 5)
  read_uptime
  record "$module" reverting "$now" "${trial:-new}" -
  state_save || return 1
  if ! said=$( (echo 0 >"$livepatch_dir/$module/enabled") 2>&1); then
    problem revert-failed "$module" "the kernel did not revert $module: $said"
    return 1
  fi
  reverted "$module"
}

# Completes a revert that was begun.
reverted() {
  local module=$1
  if ! wait_for "$wait_limit" left "$module"; then
    problem transition-stuck "$module" "the revert of $module has not ended; blocked by: $(blockers 0)"
    return 1
  fi
  tidy "$unload_limit"
  record_drop "$module"
  state_drop over "$module"
  state_save || :
  say "$module is unloaded"
}
