# shellcheck shell=dash
# Shows what is in force, what is installed, and what blocks the rest. Changes nothing.

# As installed_read, without verification: the last sync reported what is wrong.
installed_look() {
  local directory position kind module package version for_release for_build size sha256 on functions
  installed='' unusable='' others=0
  for directory in $(package_directories); do
    if ! read_manifest "$directory/manifest" "$directory"; then
      if of_this_release "$directory"; then unusable="$unusable${directory##*/} ${fault%% *}$newline"; fi
    elif [ "$for_build" != "$build_id" ]; then
      others=$((others + 1))
    else
      installed="$installed$position $kind $module $package $version $on $directory $size $sha256 $functions$newline"
    fi
  done
}

# Its phase in this boot: loading, transition, soak, good, reverting.
phase_of() {
  state_lines livepatch | awk -v module="$1" -v boot="$boot_id" '$1 == module && $2 == boot { print $3; exit }'
}

# The code of the last problem of a package or its module.
said_of() {
  state_lines problem | awk -v package="$1" -v module="$2" '$2 == package || $2 == module { print $1; exit }'
}

one_in_force() {
  local module=$1 manifest fields phase id title
  manifest=$(manifest_of "$module")
  fields=$(manifest_read "${manifest:-/dev/null}" 2>/dev/null) || fields="- - $module - - - - - - - -"
  # shellcheck disable=SC2086
  set -- $fields
  phase=$(phase_of "$module")
  if in_transition "$module"; then phase=transition; elif [ "$phase" = transition ]; then phase=soak; fi
  echo 'object -'
  echo "text module $module"
  if [ "$4" = - ]; then echo 'bare package null'; else echo "text package $4"; fi
  if [ "$5" = - ]; then echo 'bare version null'; else echo "text version $5"; fi
  if [ "$2" = - ]; then echo 'bare kind null'; else echo "text kind $2"; fi
  echo "number position $1"
  echo "text phase ${phase:-unknown}"
  if [ -n "$(installed_line "$module")" ]; then echo 'bare installed true'; else echo 'bare installed false'; fi
  echo "number transitionSeconds $(transition_of "$module")"
  echo 'array fixes'
  manifest_fixes "${manifest:-/dev/null}" | while read -r id title; do
    printf 'object -\ntext id %s\ntext title %s\nend\n' "$id" "$title"
  done
  echo end
  echo end
}

# The exit code.
status_code() {
  local module count=0 moving=0
  for module in $1; do
    if in_transition "$module"; then moving=1; else count=$((count + 1)); fi
  done
  if [ -z "$installed$unusable$1" ]; then
    if is_not_needed; then echo 0; else echo 3; fi
  elif [ "$count" -eq 0 ]; then
    echo 1
  elif [ "$moving" -eq 1 ] || [ -n "$unusable" ] || [ "$(lacking)" -gt 0 ]; then
    echo 2
  else
    echo 0
  fi
}

# The status as lines for `json`.
looked() {
  local modules=$1 module code off rest position kind package version at text subject line build hold_kind next
  echo 'object -'
  echo 'text schema kmend.livepatch-status/1'
  echo "text release $release"
  echo "text buildId $build_id"
  line=$(state_lines outcome)
  if [ -z "$line" ]; then
    echo 'bare outcome null'
  else
    text=${line#* }
    printf 'object outcome\ntext code %s\ntext text %s\ntext at %s\nend\n' "${text%% *}" "${text#* }" "${line%% *}"
  fi
  hold_kind=$(state_lines hold)
  if [ -z "$hold_kind" ]; then echo 'bare hold null'; else echo "text hold ${hold_kind%% *}"; fi
  if has_yielded; then echo 'bare yielded true'; else echo 'bare yielded false'; fi
  if off=$(switched_off); then echo "text switchedOff $off"; else echo 'bare switchedOff null'; fi
  # False: /var could not be written, and this state is from /run.
  if [ -f "$run_state" ]; then echo 'bare saved false'; else echo 'bare saved true'; fi
  echo 'array inForce'
  for module in $modules; do one_in_force "$module"; done
  echo end
  echo 'array installed'
  printf '%s' "$installed" | sort -n | while read -r position kind module package version rest; do
    printf 'object -\ntext package %s\ntext version %s\ntext kind %s\nnumber position %s\ntext module %s\n' \
      "$package" "$version" "$kind" "$position" "$module"
    if is_enabled "$module" && ! in_transition "$module"; then echo 'bare inForce true'; else echo 'bare inForce false'; fi
    code=$(said_of "$package" "$module")
    if [ -z "$code" ]; then echo 'bare code null'; else echo "text code $code"; fi
    echo end
  done
  echo end
  echo 'array unusable'
  printf '%s' "$unusable" | while read -r package code; do
    printf 'object -\ntext package %s\ntext code %s\nend\n' "$(clean "$package" 200)" "$code"
  done
  echo end
  echo "number otherKernels $others"
  if is_not_needed; then echo 'bare notNeeded true'; else echo 'bare notNeeded false'; fi
  if next=$(next_release); then
    printf 'object next\ntext release %s\nnumber livepatches %s\n' "$next" "$(livepatches_for "$next")"
    if statement_of "$next" >/dev/null; then echo 'bare notNeeded true'; else echo 'bare notNeeded false'; fi
    echo end
  else
    echo 'bare next null'
  fi
  echo 'array problems'
  state_lines problem | while read -r code subject text; do
    printf 'object -\ntext code %s\ntext subject %s\ntext text %s\ntext hint %s\nend\n' "$code" "$subject" "$text" "$(hint_of "$code")"
  done
  echo end
  echo 'array warnings'
  # shellcheck disable=SC2086
  warnings $modules | while read -r code text; do
    printf 'object -\ntext code %s\ntext text %s\ntext hint %s\nend\n' "$code" "$text" "$(hint_of "$code")"
  done
  echo end
  echo 'array quarantined'
  state_lines quarantined | while read -r build module code at text; do
    [ "$build" != "$build_id" ] ||
      printf 'object -\ntext module %s\ntext code %s\ntext at %s\ntext text %s\nend\n' "$module" "$code" "$at" "$text"
  done
  echo end
  echo 'array kernelLog'
  state_lines kernel-log | while read -r line; do printf 'text - %s\n' "$line"; done
  echo end
  echo "number exitCode $2"
  echo end
}

# The same for people.
# shellcheck disable=SC2016
looked_text() {
  awk '
    { value = $0; sub(/^[^ ]* [^ ]* ?/, "", value) }
    $1 == "array" && depth == 1 { part = $2 }
    $1 == "object" && ($2 == "outcome" || $2 == "next") { part = $2 }
    $1 == "object" || $1 == "array" { depth++; if ($1 == "object") split("", field) }
    $1 == "text" || $1 == "number" || $1 == "bare" { field[$2] = value }
    depth == 1 && $1 == "text" && $2 == "release" { release = value }
    depth == 1 && $1 == "text" && $2 == "buildId" { print "kernel " release ", build id " value }
    depth == 1 && $1 == "text" && $2 == "hold" { print "held: " (value == "out" ? "nothing is loaded" : "the livepatches in force stay") " until kmend-livepatch resume" }
    depth == 1 && $2 == "yielded" && value == "true" { print "yielded: the agent drives this host" }
    depth == 1 && $1 == "text" && $2 == "switchedOff" { print "switched off: " value }
    depth == 1 && $2 == "saved" && value == "false" { print "not saved: /var cannot be written" }
    depth == 1 && $2 == "notNeeded" && value == "true" { print "this kernel needs no livepatch yet" }
    part == "inForce" && $2 == "fixes" {
      print (field["phase"] == "transition" ? "in transition: " : "in force: ") field["module"] " " \
        (field["package"] == "null" ? "(no package)" : field["package"] " " field["version"]) ", " field["phase"] \
        (field["installed"] == "false" ? ", not installed any more" : "") \
        (field["transitionSeconds"] == "-" ? "" : ", transition " field["transitionSeconds"] " s")
    }
    part == "inForce" && depth == 5 && $2 == "title" { print "  " field["id"] " " value }
    $1 == "end" {
      if (part == "outcome") { print "last run: " field["code"] ", " field["at"] ": " field["text"]; part = "" }
      if (part == "next") {
        print "next kernel: " field["release"] ", with the next boot; " \
          (field["livepatches"] > 0 ? "livepatches installed for it: " field["livepatches"] : \
          field["notNeeded"] == "true" ? "it needs no livepatch yet" : "no livepatch is installed for it")
        part = ""
      }
      if (part == "installed" && depth == 3 && field["inForce"] == "false")
        print "installed, not in force: " field["package"] " " field["version"] (field["code"] == "null" ? "" : " (" field["code"] ")")
      if (part == "unusable" && depth == 3) print "installed, unusable: " field["package"] " (" field["code"] ")"
      if (part == "problems" && depth == 3) print "problem " field["code"] ": " field["text"] (field["hint"] == "" ? "" : "\n  " field["hint"])
      if (part == "warnings" && depth == 3) print "warning " field["code"] ": " field["text"] "\n  " field["hint"]
      if (part == "quarantined" && depth == 3) print "quarantined: " field["module"] " since " field["at"] ": " field["code"] ": " field["text"]
      depth--
    }
    part == "kernelLog" && $1 == "text" { print "kernel log: " value }'
}
