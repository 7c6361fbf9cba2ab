# shellcheck shell=dash
# Makes the kernel run the livepatches that are installed for it.

# The start of every command that acts. SECONDS: how long to wait for another run.
begin() {
  lock "$1"
  state_load
  case $? in
    1)
      mv -f "$state_file" "$state_file.damaged" 2>/dev/null
      state=
      problem state-damaged - 'the state of the last run is damaged, and starts empty'
      ;;
    2) die state-newer 'a later kmend-livepatch wrote the state' ;;
  esac
  state_of_this_machine
  read_config
  if ! read_kernel; then
    problem kernel-unknown - 'the kernel does not say its build id or its boot id'
    finish
    exit 5
  fi
  reconcile
}

# `key value` lines of the operator: wait, soak, take-back (seconds), depth.
read_config() {
  local key value rest
  [ -r "$config_file" ] || return 0
  while read -r key value rest; do
    case $key in '' | '#'*) continue ;; esac
    case "$value $rest" in
      ' '* | *[!0-9]*' ' | *' '?* | ??????*' ') key=- ;;
    esac
    case $key in
      wait) wait_limit=$((value * 100)) ;;
      soak) soak_seconds=$value ;;
      take-back) take_back_seconds=$value ;;
      depth) depth_limit=$value ;;
      *) problem config-invalid - "/etc/kmend-livepatch/config has an invalid line" ;;
    esac
  done <"$config_file"
}

# Of the packages: loaded by them in this boot, installed, or handed over by the agent.
is_ours() {
  [ -e "$loaded_dir/$1" ] || state_has "livepatch $1" || [ -n "$(installed_line "$1")" ] || state_has "over $1"
}

# The livepatch that the agent loads or has in force in this boot, from its claim (packages/host/rules, claim.ts). `?`:
# there is a claim, and it is not understood.
agent_module() {
  local module
  [ -e "$agent_claim" ] || return 1
  module=$(claim_read "$agent_claim") || {
    echo '?'
    return 0
  }
  # LOADED: it has not heard yet that this one is gone.
  case $module in
    *' loaded') ! left "${module% *}" || return 1 ;;
  esac
  printf '%s\n' "${module% *}"
}

# claim_read FILE: "MODULE STATE". Fails where it is no claim.
# shellcheck disable=SC2016
claim_read() {
  head -c "$((claim_limit + 1))" "$1" 2>/dev/null | awk -v header="$claim_header" -v limit="$claim_limit" "$claim_rules"'
    { bytes += length($0) + 1; line[NR] = $0 }
    END {
      split(line[2], module, " "); split(line[3], state, " ")
      ok = NR == 3 && bytes <= limit && line[1] == header && line[2] == "module " module[2] && line[3] == "state " state[2] &&
        is_module(module[2]) && (state[2] == "loading" || state[2] == "loaded")
      if (!ok) exit 1
      print module[2], state[2]
    }'
}

# Whether another system patches this kernel: then nothing is done. Reports a problem.
conflict() {
  local theirs module
  if theirs=$(agent_module) && ! state_has "over $theirs"; then
    if [ "$theirs" = '?' ]; then
      problem conflict-agent - "the agent's claim ($agent_claim) is invalid: it may be loading a livepatch"
    else
      problem conflict-agent "$theirs" "the agent of this host has $theirs in force, or is loading it"
    fi
    return 0
  fi
  for module in $(livepatches); do
    if ! is_ours "$module"; then
      problem conflict-livepatch "$module" "a livepatch that belongs to no package is in the kernel: $module"
      return 0
    fi
  done
  module=$(rival)
  [ -n "$module" ] || return 1
  problem conflict-module "$module" "the module of another live patch system is loaded: $module"
}

# The module of another live patch system.
# shellcheck disable=SC2016
rival() {
  local entry
  for entry in "$module_dir"/*; do printf '%s\n' "${entry##*/}"; done | awk "$rival_rules"' is_rival($0) { print; exit }'
}

# The packages' enabled livepatches, as input of the plan.
running_lines() {
  local module fields
  for module in $(livepatches); do
    if ! is_enabled "$module" || ! is_ours "$module"; then continue; fi
    if [ -e "$loaded_dir/$module" ] && fields=$(manifest_read "$loaded_dir/$module" 2>/dev/null); then
      printf '%s\n' "$fields" | awk '{ print "running", $1, $2, $3, $4, $10 }'
    elif state_has "over $module"; then
      echo "running 0 cumulative $module - -"
    else
      echo "running 0 stacked $module - -"
    fi
  done
}

# plan_lines BAR: what the plan is made from. BAR: why nothing may be loaded now; empty: it may.
plan_lines() {
  local position kind module package version on rest
  running_lines
  while read -r position kind module package version on rest; do
    if [ -z "$module" ] || [ "$hold" = out ]; then continue; fi
    if is_enabled "$module"; then
      echo "installed $position $kind $module $package $version $on"
    elif [ -n "$1" ] || { [ "$hold" = stay ] && ! state_has "held $module"; }; then
      echo "unusable $package barred"
    elif [ -n "$(quarantined "$module")" ]; then
      echo "unusable $package quarantined"
    elif is_deferred "$module"; then
      echo "unusable $package deferred"
    elif is_hooked "$module"; then
      echo "unusable $package hooked"
    else
      echo "installed $position $kind $module $package $version $on"
    fi
  done <<END
$installed
END
  [ "$hold" = out ] || printf '%s' "$unusable" | sed 's/^/unusable /'
}

# The steps, in `steps`.
made=
make_plan() {
  made=$(plan_lines "$1" | plan)
  steps=$(printf '%s\n' "$made" | grep -v '^problem ')
  # Under this hold nothing is reverted.
  [ "$hold" != stay ] || steps=$(printf '%s\n' "$steps" | grep -v '^revert ')
}

# Reports the problems of the plan.
tell_plan() {
  local word code subject text
  while read -r word code subject text; do
    [ "$word" != problem ] || problem "$code" "$subject" "$text"
  done <<END
$made
END
}

# memory_needed SIZE FUNCTIONS: kB that should be available for a load.
memory_needed() {
  echo "$(((memory_copies * ${1:-0} + memory_per_function * ${2:-0} + memory_floor + 1023) / 1024))"
}

# Whether there is too little for the largest of the planned loads: "code text".
memory_short() {
  local available need=0 one word module
  available=$(available_memory)
  [ -n "$available" ] || return 1
  while read -r word module; do
    [ "$word" = load ] || continue
    # No field holds a space.
    # shellcheck disable=SC2046
    one=$(memory_needed $(installed_line "$module" | awk '{ print $8, $10 }'))
    [ "$one" -le "$need" ] || need=$one
  done <<END
$steps
END
  [ "$available" -lt "$need" ] || return 1
  echo "memory-low $available kB of memory are available, $need kB are needed"
}

# Why nothing may be loaded now.
bar=

# The plan, made again without any load if the host is not fit for one.
plan_for_now() {
  local why
  bar=
  hooked=
  if why=$(switched_off); then
    bar=switched-off
    say "nothing is loaded: $why"
  fi
  make_plan "$bar"
  case $steps in
    *load*)
      if why=$(unsound) || why=$(memory_short); then
        bar=${why%% *}
        problem "$bar" - "${why#* }"
        make_plan "$bar"
      fi
      ;;
  esac
  # Without the livepatches that conflict the plan may have other loads.
  while find_hooked; do make_plan "$bar"; done
  tell_plan
  return 0
}

# Waits for a transition under way, which blocks every other one. Fails if it does not end.
end_transition() {
  local module
  while module=$(moving); do
    if ! is_ours "$module"; then
      problem conflict-transition "$module" "$module, which belongs to no package, is in transition"
      return 1
    fi
    if ! is_enabled "$module"; then
      reverted "$module" || return 1
    elif [ -z "$(installed_line "$module")" ] || [ "$hold" = out ] || is_deferred "$module" || condemned | grep -qx "$module"; then
      # It is to be reverted anyway: the kernel reverses the transition.
      revert "$module" || return 1
    else
      if ! state_has "livepatch $module"; then
        read_uptime
        log_mark_for "$module"
        record "$module" transition "$now" new -
      fi
      # After a reversal the rest continues.
      follow "$module" "$(record_field "$module" 4)" || { left "$module" && continue; } || return 1
      ! is_cumulative "$module" || replaced
    fi
  done
}

hold=
steps=
# Does all of it, with the lock held and the state read.
synchronise() {
  local module
  hold=$(state_lines hold)
  hold=${hold%% *}
  watch_log
  if has_yielded && [ -z "$(condemned)" ]; then return 0; fi
  # This run reads what runs that found the lock taken would have; if it is killed, the retry unit continues.
  rm -f "$busy_flag"
  (: >"$retry_flag") 2>/dev/null
  installed_read
  statement_read
  note_quarantined
  if insmod_hangs; then return 0; fi
  # An administrator's revert and a kernel complaint revert our own livepatches also beside foreign ones.
  if has_yielded || { conflict && [ "$hold" != out ]; }; then
    [ -z "$(condemned)" ] || { end_transition && expel; } || :
    return 0
  fi
  end_transition || return 0
  expel || return 0
  adopt
  tidy
  note_deferred
  while plan_for_now && act; [ "$?" -eq 2 ]; do
    # Reverts it; the plan without it may be another one.
    expel || return 0
  done
}

# Carries out the plan up to the first failure.
act() {
  local step module
  while read -r step module; do
    case $step in
      load) load "$module" || return ;;
      revert) revert "$module" || return ;;
    esac
  done <<END
$steps
END
}

# Watches livepatches from now on that are in force and unknown to the state (which was lost).
adopt() {
  local module
  for module in $(livepatches); do
    if is_enabled "$module" && is_ours "$module" && ! state_has "livepatch $module" && ! state_has "over $module"; then
      read_uptime
      log_mark_for "$module"
      record "$module" soak "$now" new -
    fi
  done
}

note_quarantined() {
  local position kind module package rest why
  while read -r position kind module package rest; do
    if [ -z "$module" ] || is_enabled "$module"; then continue; fi
    why=$(quarantined "$module")
    [ -z "$why" ] || problem quarantined "$package" "$package ($module) is quarantined on this host: $why"
  done <<END
$installed
END
}

# How many of the installed ones are not in force, of those that a cumulative one does not hold already.
lacking() {
  local position kind module rest count=0 ground=0
  while read -r position kind module rest; do
    if [ "$kind" = cumulative ] && is_enabled "$module" && [ "$position" -gt "$ground" ]; then ground=$position; fi
  done <<END
$installed
END
  while read -r position kind module rest; do
    [ -n "$module" ] || continue
    if [ "$kind" = stacked ] && [ "$position" -le "$ground" ]; then continue; fi
    if ! is_enabled "$module" || in_transition "$module"; then count=$((count + 1)); fi
  done <<END
$installed
END
  echo "$count"
}

# Records the outcome, and whether the timers have work. Returns the exit code.
finish() {
  local first code text failed=0 line
  first=$(first_problem)
  if has_yielded; then
    code=yielded text='the agent drives this host: the packages load nothing'
  elif [ -n "$first" ]; then
    code=${first%% *} text=${first#* } failed=5
    text=${text#* }
  elif [ -n "$hold" ]; then
    code=held text='an administrator holds this host'
    [ "$hold" = stay ] || text='the livepatches were reverted by hand; nothing is loaded'
  elif [ "$bar" = switched-off ]; then
    code=switched-off text='nothing is loaded in this boot'
  elif [ -n "$installed" ]; then
    code=in-force text='everything that is installed for this kernel is in force'
  elif is_not_needed; then
    code=not-needed text='this kernel needs no livepatch yet, as its publisher states'
  elif [ "$others" -gt 0 ]; then
    code=other-kernel text="$others packages are for other kernels than $release (build id $build_id), none for this one"
  else
    code=none-installed text='nothing is installed for this kernel'
  fi
  flag_soak
  keep_outcome "$code" "$text"
  if ! state_save; then
    keep_outcome "$code" "$text"
    write_file "$run_state" "$state_header$newline$state" || :
    failed=5
  fi
  rm -f "$retry_flag"
  while read -r line; do
    if [ -n "$line" ] && is_passing "${line%% *}"; then (: >"$retry_flag") 2>/dev/null; fi
  done <<END
$problems
END
  if [ "$failed" -eq 0 ]; then say "$text ($code)"; fi
  # A hanging insmod would keep the lock.
  [ -z "$(insmod_at_work)" ] || "$flock" -u 9
  return "$failed"
}

flag_soak() {
  if soak; then (: >"$soak_flag") 2>/dev/null; else rm -f "$soak_flag"; fi
}

keep_outcome() {
  local line kept
  kept=$(state_lines kernel-log)
  state_drop outcome
  state_drop problem
  state_drop kernel-log
  state_keep_last good "$state_good"
  state_keep_last trusted "$state_trusted"
  state_keep_last quarantined "$state_quarantined"
  state_add "outcome $(date -u +%Y-%m-%dT%H:%M:%SZ) $1 $(clean "$2")"
  while read -r line; do
    [ -z "$line" ] || state_add "problem $line"
  done <<END
$(printf '%s' "$problems" | head -n "$state_problems")
END
  # The kernel's messages are kept while what it refused is quarantined.
  if [ -z "$kernel_log" ] && state_has quarantined; then kernel_log=$kept; fi
  while read -r line; do
    [ -z "$line" ] || state_add "kernel-log $line"
  done <<END
$kernel_log
END
}
