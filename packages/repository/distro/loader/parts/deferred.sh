# shellcheck shell=dash
# A transition that does not end is taken back, and tried again after a pause that grows: docs/decisions/027-transition-limit.md. Never forced, and
# held against nobody: the tasks were in the way, not the livepatch. What held it up ends with the boot, and so does the pause.

# How long one may take. 0: for ever.
take_back_seconds=900
# The first pause, and the longest; seconds.
pause_seconds=900
longest_pause_seconds=21600

# 3 how often it was taken back in this boot, 4 the uptime from which on it is tried again.
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
  [ "$take_back_seconds" -gt 0 ] && [ "$((now - ${since:-now}))" -ge "$((take_back_seconds * 100))" ]
}

# take_back MODULE: the kernel turns it round.
take_back() {
  local module=$1 tries pause=$pause_seconds count=1
  tries=$(deferred_field "$module" 3)
  tries=$((${tries:-0} + 1))
  while [ "$count" -lt "$tries" ] && [ "$pause" -lt "$longest_pause_seconds" ]; do
    pause=$((pause * 2))
    count=$((count + 1))
  done
  [ "$pause" -le "$longest_pause_seconds" ] || pause=$longest_pause_seconds
  read_uptime
  state_drop deferred "$module"
  state_add "deferred $module $boot_id $tries $((now + pause * 100))"
  problem deferred "$module" \
    "the transition of $module did not end and is taken back, to be tried again in $((pause / 60)) minutes; in the way: $(blockers 1)"
  revert "$module"
}

# What waits for its pause to end.
note_deferred() {
  local position kind module package rest until
  while read -r position kind module package rest; do
    if [ -z "$module" ] || is_enabled "$module" || ! is_deferred "$module"; then continue; fi
    until=$(deferred_field "$module" 4)
    problem deferred "$module" "the transition of $module ($package) did not end the last time; it is tried again in $(((until - now) / 6000 + 1)) minutes"
  done <<END
$installed
END
}
