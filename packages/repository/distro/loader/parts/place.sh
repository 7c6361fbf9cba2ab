# shellcheck shell=dash
# Whether the running kernel belongs to this system, and whether the state is available.

# "CODE TEXT" if it does not: a kernel that only writes a dump (kdump), a container, a chroot, an image that is being
# built. A file that cannot be read proves nothing.
foreign_kernel() {
  local mark mine first
  if [ -e "$root$capture_mark" ]; then
    echo 'capture-kernel this kernel runs to write the dump of one that crashed'
    return 0
  fi
  for mark in $container_marks; do
    if [ -e "$root$mark" ]; then
      echo "foreign-kernel this is a container ($mark is there)"
      return 0
    fi
  done
  mine=$(readlink "$root/proc/self/ns/pid" 2>/dev/null)
  case $mine in
    '' | "$first_pid_namespace") ;;
    *)
      echo 'foreign-kernel this is a container (a process namespace of its own)'
      return 0
      ;;
  esac
  read_line "$root/proc/self/uid_map"
  # The fields are padded with spaces.
  # shellcheck disable=SC2086
  set -- $line
  case $* in
    '' | "$whole_uid_map") ;;
    *)
      echo 'foreign-kernel this is a container (a user namespace of its own)'
      return 0
      ;;
  esac
  mine=$(stat -L -c '%d:%i' "$root/" 2>/dev/null)
  first=$(stat -L -c '%d:%i' "$root/proc/1/root/" 2>/dev/null)
  if [ -n "$first" ] && [ "$first" != "$mine" ]; then
    echo 'foreign-kernel this is a chroot (process 1 has another root)'
    return 0
  fi
  if [ ! -d "$root/run/systemd/system" ]; then
    echo 'foreign-kernel systemd does not run here (an image, or a chroot)'
    return 0
  fi
  return 1
}

# A mount of the state that is missing, early in a boot where it comes over the network.
# systemd.mount(5) has the names; those of /etc/fstab are in the generator's folder.
missing_mount() {
  local place name folder
  for place in /var=var /var/lib=var-lib '/var/lib/kmend-livepatch=var-lib-kmend\x2dlivepatch'; do
    name=${place#*=} place=${place%%=*}
    # proc(5): the fifth field is the mount point; an automount may not be mounted yet.
    if awk -v place="$place" '$5 == place && !/ - autofs / { found = 1 } END { exit !found }' "$root/proc/self/mountinfo" 2>/dev/null; then continue; fi
    for folder in etc run usr/lib lib; do
      if [ -e "$root/$folder/systemd/system/$name.mount" ] || [ -e "$root/$folder/systemd/system/$name.automount" ] ||
        [ -e "$root/run/systemd/generator/$name.mount" ] || [ -e "$root/run/systemd/generator/$name.automount" ]; then
        printf '%s\n' "$place"
        return 0
      fi
    done
  done
  return 1
}

# Empty, or `uninitialized`, before the first boot of an image.
machine_id() {
  read_line "$root/etc/machine-id"
  case $line in
    *[!0-9a-f]* | 00000000000000000000000000000000) ;;
    ????????????????????????????????) printf '%s\n' "$line" ;;
  esac
}

# State of another machine is ignored: a host that was made from its image has loaded nothing, and nothing crashed it.
state_of_this_machine() {
  local mine theirs
  mine=$(machine_id)
  [ -n "$mine" ] || return 0
  theirs=$(state_lines machine)
  if [ "$theirs" = "$mine" ]; then return 0; fi
  if [ -n "$theirs" ]; then
    say 'the state is of another machine (/etc/machine-id differs) and is ignored'
    state=
  fi
  state_add "machine $mine"
}
