# shellcheck shell=dash
# A transition that does not end is reversed, and retried after a growing pause:
# docs/decisions/027-transition-limit.md. It is never forced, and no livepatch is blamed: the tasks blocked it. Both the
# tasks and the pause end with the boot.

# 3: how often it was reversed in this boot, 4: the uptime at which it is retried.
deferred_field() {
  state_lines deferred | awk -v module="$1" -v boot="$boot_id" -v field="$2" '$1 == module && $2 == boot { print $field; exit }'
}

is_deferred() {
  local until
  until=$(deferred_field "$1" 4)
  read_uptime
  [ -n "$until" ] && [ "$now" -lt "$until" ]
}

# Pauses of a boot that has ended.
forget_deferred() {
  state=$(printf '%s\n' "$state" | awk -v boot="$boot_id" 'NF > 0 && !($1 == "deferred" && $3 != boot)')
}

is_overdue() {
  local since
  since=$(record_field "$1" 4)
  read_uptime
  is_late "$((now - ${since:-now}))" "$take_back_seconds"
}

# is_late ELAPSED LIMIT: hundredths of a second, seconds; 0: without a limit.
is_late() {
  [ "$2" -gt 0 ] && [ "$1" -ge "$(($2 * 100))" ]
}

# pause_after TRIES: seconds until a transition that was reversed so often is retried.
pause_after() {
  local pause=$pause_seconds count=1
  while [ "$count" -lt "$1" ] && [ "$pause" -lt "$longest_pause_seconds" ]; do
    pause=$((pause * 2))
    count=$((count + 1))
  done
  [ "$pause" -le "$longest_pause_seconds" ] || pause=$longest_pause_seconds
  echo "$pause"
}

# take_back MODULE: the kernel reverses its transition.
take_back() {
  local module=$1 tries pause
  tries=$(deferred_field "$module" 3)
  tries=$((${tries:-0} + 1))
  pause=$(pause_after "$tries")
  read_uptime
  state_drop deferred "$module"
  state_add "deferred $module $boot_id $tries $((now + pause * 100))"
  problem deferred "$module" \
    "the transition of $module did not end and is reversed; it is retried in $((pause / 60)) minutes; blocked by: $(blockers 1)"
  revert "$module"
}

# Reports livepatches whose pause has not ended.
note_deferred() {
  local position kind module package rest until
  while read -r position kind module package rest; do
    if [ -z "$module" ] || is_enabled "$module" || ! is_deferred "$module"; then continue; fi
    until=$(deferred_field "$module" 4)
    problem deferred "$module" "the transition of $module ($package) did not end the last time; it is retried in $(((until - now) / 6000 + 1)) minutes"
  done <<END
$installed
END
}
