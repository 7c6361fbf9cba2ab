# shellcheck shell=dash
# Measures the cost of the stack.

# "CODE TEXT" of each warning about a stack of MODULES.
warnings() {
  local next
  [ "$depth_limit" -eq 0 ] || [ "$#" -le "$depth_limit" ] ||
    echo "stack-deep $# livepatches are stacked, more than $depth_limit: each one costs memory and makes every change of the stack longer"
  # A host without any livepatch package, or one that the agent drives, needs none for its next kernel either.
  if [ -z "$installed$unusable" ] && [ "$#" -eq 0 ] && ! is_not_needed; then return 0; fi
  if has_yielded || ! next=$(next_release) || statement_of "$next" >/dev/null; then return 0; fi
  [ "$(livepatches_for "$next")" -gt 0 ] ||
    echo "next-kernel-bare the next boot brings $next, and no livepatch is installed for it"
}

# Manifest of a livepatch in the kernel: as it was verified when it was loaded, else as it is installed.
manifest_of() {
  local directory
  if [ -r "$loaded_dir/$1" ]; then
    printf '%s\n' "$loaded_dir/$1"
  else
    directory=$(installed_line "$1" | awk '{ print $7 }')
    [ -z "$directory" ] || printf '%s\n' "$directory/manifest"
  fi
}

in_kernel() {
  local module
  for module in $(livepatches); do
    if is_enabled "$module" && is_ours "$module"; then printf '%s\n' "$module"; fi
  done
}

# In the order of the stack: by position; livepatches without a manifest first.
stack() {
  local module manifest place
  for module in $(in_kernel); do
    manifest=$(manifest_of "$module")
    place=$(sed -n 's/^position //p' "${manifest:-/dev/null}" 2>/dev/null)
    printf '%s %s\n' "${place:-0}" "$module"
  done | sort -n | awk '{ print $2 }'
}

# Bytes of memory of a module.
memory_of() {
  local core init
  read_line "$module_dir/$1/coresize"
  core=$line
  read_line "$module_dir/$1/initsize"
  init=$line
  case $core in '' | *[!0-9]*) core=0 ;; esac
  case $init in '' | *[!0-9]*) init=0 ;; esac
  echo "$((core + init))"
}

transition_of() {
  local took
  took=$(record_field "$1" 6)
  case $took in '' | *[!0-9]*) echo - ;; *) seconds "$took" && echo ;; esac
}

# "COVERED SEVERAL" functions of the stack: how many there are, and how many of them more than one livepatch patches.
# shellcheck disable=SC2016
coverage_of() {
  local module manifest
  for module in "$@"; do
    manifest=$(manifest_of "$module")
    [ -z "$manifest" ] || sed -n 's/^function //p' "$manifest" 2>/dev/null | sort -u
  done | awk '{ if (count[$0]++ == 1) several++; if (count[$0] == 1) all++ } END { print all + 0, several + 0 }'
}

measured() {
  local modules module depth=0 total=0 covered
  modules=$(stack)
  # shellcheck disable=SC2086
  covered=$(coverage_of $modules)
  for module in $modules; do
    depth=$((depth + 1))
    total=$((total + $(memory_of "$module")))
  done
  echo 'object -'
  echo 'text schema kmend.livepatch-measure/1'
  echo "number depth $depth"
  echo "number functions ${covered% *}"
  echo "number functionsCoveredSeveralTimes ${covered#* }"
  echo "number memoryBytes $total"
  echo 'array livepatches'
  for module in $modules; do
    echo 'object -'
    echo "text module $module"
    echo "number memoryBytes $(memory_of "$module")"
    echo "number transitionSeconds $(transition_of "$module")"
    echo end
  done
  echo end
  echo end
}

measured_text() {
  awk '
    { value = $0; sub(/^[^ ]* [^ ]* ?/, "", value) }
    $2 == "depth" { print "depth " value }
    $2 == "functions" { print "functions " value }
    $2 == "functionsCoveredSeveralTimes" { print "covered several times " value }
    $2 == "memoryBytes" && !inside { print "memory " value " bytes" }
    $1 == "array" { inside = 1 }
    $2 == "module" { module = value }
    $2 == "memoryBytes" && inside { memory = value }
    $2 == "transitionSeconds" { print module ": " memory " bytes, transition " (value == "-" ? "unknown" : value " s") }'
}
