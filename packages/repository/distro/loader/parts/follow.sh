# shellcheck shell=dash
# Kernels without livepatches: one that needs none yet, and the one that the next boot brings.

# The publisher's statement that a kernel needs no livepatch yet is in that kernel's own package, in place of
# livepatches.
statement_of() {
  local file
  for file in "$packages_dir/$1"/*/none; do
    if [ -f "$file" ] && [ ! -L "$file" ]; then
      printf '%s\n' "$file"
      return 0
    fi
  done
  return 1
}

# statement_fault FILE PACKAGE RELEASE: why it is not the statement of that package: "code text".
statement_fault() {
  if manifest_fault "$1"; then return 0; fi
  # shellcheck disable=SC2016
  awk -v package="$2" -v release="$3" '
    BEGIN { split("kmend-livepatch-none package version release build-id", order, " ") }
    NF != 2 || $0 != order[NR] " " $2 { exit bad = 1 }
    { field[NR] = $2 }
    END {
      ok = !bad && NR == 5 && field[1] == "1" && field[2] == package && field[4] == release &&
        field[3] ~ /^[0-9]+$/ && length(field[5]) == 40 && field[5] !~ /[^0-9a-f]/
      exit !ok
    }' "$1" && return 1
  echo 'manifest-garbage it is not the statement that its kernel needs no livepatch'
}

# Verifies the statement for the running kernel, and keeps the result in the state.
statement_read() {
  local file directory copy=$private_dir/check-statement
  state_drop not-needed
  if [ -n "$installed$unusable" ] || ! file=$(statement_of "$release"); then return 0; fi
  directory=${file%/none}
  if ! write_error=$(head -c "$((manifest_limit + 1))" "$file" 2>&1 >"$copy"); then
    problem "$(disk_code "$write_error")" "${directory##*/}" "$write_error"
  elif fault=$(statement_fault "$copy" "${directory##*/}" "$release") || fault=$(unsigned "$copy" "$directory/none.sig"); then
    problem "${fault%% *}" "${directory##*/}" "${directory##*/}: ${fault#* }"
  elif grep -qx "build-id $build_id" "$copy"; then
    state_add "not-needed $build_id"
  else
    others=$((others + 1))
  fi
  rm -f "$copy"
}

# As it was verified last.
is_not_needed() {
  state_has "not-needed $build_id" && statement_of "$release" >/dev/null
}

# The part of a release before its flavour.
version_of() {
  printf '%s\n' "$1" | sed 's/-[A-Za-z].*//'
}

# The kernel that the next boot brings, judged by the disk: the newest one, of the running flavour if there are several.
# Fails if it is the running one.
next_release() {
  local image name all running newest
  running=$(version_of "$release")
  all=$(for image in "$root"/boot/vmlinuz-[0-9]*; do
    name=${image##*/vmlinuz-}
    case $name in *[!A-Za-z0-9.+~_-]*) continue ;; esac
    if [ -f "$image" ] && [ -d "$root/lib/modules/$name" ]; then printf '%s %s\n' "$(version_of "$name")" "$name"; fi
  done)
  newest=$(printf '%s\n' "$all" "$running $release" | cut -d ' ' -f 1 | sort -V | tail -n 1)
  [ "$newest" != "$running" ] || return 1
  name=$newest${release#"$running"}
  printf '%s\n' "$all" | grep -qxF "$newest $name" || name=$(printf '%s\n' "$all" | awk -v newest="$newest" '$1 == newest { print $2; exit }')
  printf '%s\n' "$name"
}

# How many livepatches of another kernel are on this disk. They are verified at its boot.
livepatches_for() {
  local manifest count=0
  for manifest in "$packages_dir/$1"/*/manifest; do
    [ ! -f "$manifest" ] || count=$((count + 1))
  done
  echo "$count"
}
