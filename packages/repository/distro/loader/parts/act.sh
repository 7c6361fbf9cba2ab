# shellcheck shell=dash
# One step at a time: a livepatch in, a livepatch out. Each fails where nothing more can be done in this run.

# Until when anything new is begun (uptime; 0: no limit).
deadline=0

# wait_for LIMIT COMMAND...: until it is true. Counts its own sleeps too, should the clock stand still.
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

# Modules of the packages that are no livepatch any more: replaced, reverted, or left behind by a life that was killed.
tidy() {
  local entry module limit=${1:-0}
  for entry in "$module_dir"/kmend_*; do
    module=${entry##*/}
    if [ ! -d "$entry" ] || ! left "$module" || ! is_ours "$module"; then continue; fi
    wait_for "$limit" unloaded "$module" || :
  done
  # What is kept of those that are gone.
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
    problem "$code" "$module" "$module was not loaded, which is not its fault: $said"
  fi
}

# load MODULE. Fails with 2 where the kernel complained of it at once.
load() {
  local module=$1 package kind directory size sha256 staged trial said mark took patience=$unload_limit
  # No field holds a space.
  # shellcheck disable=SC2046
  set -- $(installed_line "$module")
  kind=$2 package=$4 directory=$7 size=$8 sha256=$9
  read_uptime
  if [ "$deadline" -gt 0 ] && [ "$now" -ge "$deadline" ]; then
    problem unfinished "$module" "not everything was loaded in the time there was; $module and what is above it are to come"
    return 1
  fi
  if [ -z "$insmod" ]; then
    problem tool-failed "$module" 'there is no insmod'
    return 1
  fi
  # Said the last time already: one look is enough.
  if known_problem conflict-module "$module"; then patience=0; fi
  if [ -d "$module_dir/$module" ] && left "$module" && ! wait_for "$patience" unloaded "$module"; then
    problem conflict-module "$module" "$module is in memory, out of force, and cannot be unloaded"
    return 1
  fi
  staged=$private_dir/load-$module.ko
  if ! said=$( (umask 077 && cp "$directory/livepatch.ko" "$staged" && cp "$directory/manifest" "$private_dir/check-manifest") 2>&1); then
    rm -f "$staged"
    problem "$(disk_code "$said")" "$module" "no copy can be made in /run: $said"
    return 1
  fi
  # What was looked at is what is loaded: signature, size and hash of the copies that root alone can reach.
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
  # Whatever became of insmod, sysfs knows.
  if [ "$insert_status" = at-work ] && ! is_enabled "$module"; then
    problem load-hung "$module" "the kernel did not answer for $insmod_seconds seconds when it was given $module, and insmod cannot be ended"
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
  # Should this fail, the one before it says enough.
  state_save || :
  follow "$module" "$took" || return 1
  say "$module ($package) is in force"
  [ "$kind" = stacked ] || replaced
  watch_log
  ! is_condemned "$module" || return 2
}

# Whether it was changed since it was looked at: "code text".
another_manifest() {
  [ "$(manifest_read "$1" 2>/dev/null | awk '{ print $3, $9 }')" != "$2 $3" ] || return 1
  echo 'package-incomplete it changes while it is looked at'
}

# Follows a transition to its end, as long as may be waited. SINCE: uptime at which it began.
follow() {
  local module=$1 since=$2 trial
  if ! wait_for "$wait_limit" arrived "$module"; then
    if is_overdue "$module"; then
      take_back "$module"
    else
      problem transition-stuck "$module" "the transition of $module goes on; in the way: $(blockers 1)"
    fi
    return 1
  fi
  if ! is_enabled "$module"; then
    record_drop "$module"
    quarantine "$module" load-failed 'something took it out of force while it was on its way in'
    problem load-failed "$module" "something took $module out of force while it was on its way in"
    return 1
  fi
  read_uptime
  trial=$(record_field "$module" 5)
  record "$module" soak "$now" "${trial:-new}" "$((now > since ? now - since : 0))"
  state_drop deferred "$module"
  state_save || :
}

# After a cumulative livepatch: what it replaced is no livepatch any more.
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
    problem revert-failed "$module" "the kernel would not take $module out of force: $said"
    return 1
  fi
  reverted "$module"
}

# The rest of a revert that was begun.
reverted() {
  local module=$1
  if ! wait_for "$wait_limit" left "$module"; then
    problem transition-stuck "$module" "$module is on its way out; in the way: $(blockers 0)"
    return 1
  fi
  tidy "$unload_limit"
  record_drop "$module"
  state_drop over "$module"
  state_save || :
  say "$module is out of the kernel"
}
