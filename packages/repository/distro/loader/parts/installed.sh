# shellcheck shell=dash
# The packages on this host, each read once.

# Those for this kernel that can be used: "POSITION KIND MODULE PACKAGE VERSION ON DIRECTORY SIZE SHA256 FUNCTIONS" a
# line.
installed=
# Those that cannot: "PACKAGE CODE" a line.
unusable=
# How many are for other kernels.
others=0

package_directories() {
  local directory
  for directory in "$packages_dir"/*/*/; do
    directory=${directory%/}
    [ ! -L "$directory" ] || continue
    # Names of packages hold neither spaces nor special characters of the shell.
    case ${directory#"$packages_dir"} in *[!A-Za-z0-9/._+~-]*) continue ;; esac
    # A removed package leaves nothing, or an empty directory.
    if [ -e "$directory/manifest" ] || [ -e "$directory/manifest.sig" ] || [ -e "$directory/livepatch.ko" ]; then
      printf '%s\n' "$directory"
    fi
  done
}

unusable_package() {
  unusable="$unusable$1 $2$newline"
  problem "$2" "$1" "$1: $3"
}

# Reads one manifest for `installed_read`: sets what it holds, or fails with `fault`.
fault=
read_manifest() {
  local manifest=$1 directory=$2 fields
  if fault=$(manifest_fault "$manifest"); then return 1; fi
  if ! fields=$(manifest_read "$manifest" 2>/dev/null); then
    fault="manifest-garbage ${fields:-it cannot be read}"
    return 1
  fi
  # No field holds a space.
  # shellcheck disable=SC2086
  set -- $fields
  position=$1 kind=$2 module=$3 package=$4 version=$5 for_release=$6 for_build=$7 size=$8 sha256=$9
  shift 9
  on=$1 functions=$2
  if [ "$package" != "${directory##*/}" ] || [ "$packages_dir/$for_release" != "${directory%/*}" ]; then
    fault="manifest-garbage it names $for_release/$package, but is in another folder"
    return 1
  fi
}

# Every package: its manifest copied to where only root may write, then verified and read from there, then its
# livepatch.
installed_read() {
  local directory name copy=$private_dir/check-manifest position kind module package version for_release for_build size sha256 on functions
  installed='' unusable='' others=0
  for directory in $(package_directories); do
    name=${directory##*/}
    if [ ! -f "$directory/manifest" ] || [ -L "$directory/manifest" ]; then
      if of_this_release "$directory"; then unusable_package "$name" package-incomplete 'there is no manifest'; fi
      continue
    fi
    # Its size is checked before it is copied; it is read again from the copy.
    if fault=$(manifest_fault "$directory/manifest"); then
      if of_this_release "$directory"; then unusable_package "$name" "${fault%% *}" "${fault#* }"; fi
      continue
    fi
    if ! write_error=$(cp "$directory/manifest" "$copy" 2>&1); then
      unusable_package "$name" "$(disk_code "$write_error")" "$write_error"
      continue
    fi
    if ! read_manifest "$copy" "$directory"; then
      if of_this_release "$directory"; then unusable_package "$name" "${fault%% *}" "${fault#* }"; fi
      continue
    fi
    if [ "$for_build" != "$build_id" ]; then
      others=$((others + 1))
      continue
    fi
    # What was verified in this boot is not verified again while it is unchanged.
    if ! cmp -s "$copy" "$loaded_dir/$module" && fault=$(unsigned "$copy" "$directory/manifest.sig"); then
      unusable_package "$name" "${fault%% *}" "${fault#* }"
      continue
    fi
    if ! is_enabled "$module"; then
      if fault=$(not_the_bytes "$directory/livepatch.ko" "$size" "$sha256"); then
        unusable_package "$name" "${fault%% *}" "${fault#* }"
        continue
      fi
    elif [ ! -e "$loaded_dir/$module" ]; then
      # Loaded by an earlier run whose /run was lost.
      cp "$copy" "$loaded_dir/$module" 2>/dev/null || :
    fi
    installed="$installed$position $kind $module $package $version $on $directory $size $sha256 $functions$newline"
  done
  rm -f "$copy"
}

of_this_release() {
  [ "${1%/*}" = "$packages_dir/$release" ]
}

# The line of a module among the installed ones.
installed_line() {
  printf '%s' "$installed" | awk -v module="$1" '$3 == module { print; exit }'
}
