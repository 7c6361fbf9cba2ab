# shellcheck shell=dash
# insmod, which may hang in the kernel forever: the loader waits a limited time, and insmod never holds the lock alone.

# How it ended: its status; `ended`: it took too long and was killed; `at-work`: it took too long and cannot be killed.
# And its output.
insert_status=
insert_said=

# insert MODULE FILE. sysfs shows whether the livepatch is in the kernel.
insert() {
  local module=$1 file=$2 said_file=$private_dir/load-said told pid
  if [ -z "$timeout" ]; then
    insert_said=$("$insmod" "$file" 2>&1)
    insert_status=$?
    return 0
  fi
  # cat(1) ends with insmod or at its timeout: timeout(1) on insmod itself would wait for one that hangs in the kernel.
  # Such an insmod must not keep open what apt or dpkg reads either.
  told=$({ insmod_told "$file" "$said_file" & } | "$timeout" "$insmod_seconds" cat)
  pid=${told%%"$newline"*}
  case $told in
    *"$newline"*) insert_status=${told#*"$newline"} ;;
    *)
      kill -KILL "$pid" 2>/dev/null
      if wait_for 1000 insmod_gone "$pid"; then
        insert_status=ended
      else
        insert_status='at-work'
        printf '%s %s\n' "$pid" "$module" >"$insmod_file"
      fi
      ;;
  esac
  insert_said=$(cat "$said_file" 2>/dev/null)
  rm -f "$said_file"
  [ "$insert_status" != ended ] || insert_said="insmod did not return within $insmod_seconds seconds and was killed"
}

# Prints its process id at once, and its status at its end. Its output goes into a file: the pipe is for these two.
insmod_told() {
  # With exec, because a shell would otherwise keep a copy of the old one for later.
  exec 2>/dev/null
  "$insmod" "$1" >"$2" 2>&1 &
  echo "$!"
  wait "$!"
  echo "$?"
}

insmod_gone() {
  ! kill -0 "$1" 2>/dev/null
}

# The module of an earlier insmod that cannot be killed and still runs; empty if there is none.
insmod_at_work() {
  local pid='' module=''
  [ -e "$insmod_file" ] || return 0
  read -r pid module <"$insmod_file"
  case $pid in '' | *[!0-9]*) return 0 ;; esac
  # Another process may have its number by now.
  read_line "$root/proc/$pid/comm"
  [ "$line" != insmod ] || printf '%s\n' "$module"
}

# Whether one hangs: then nothing is asked of the kernel, because the next insmod would hang too.
insmod_hangs() {
  local module
  module=$(insmod_at_work)
  if [ -z "$module" ]; then
    rm -f "$insmod_file"
    return 1
  fi
  problem load-hung "$module" "insmod of $module still hangs in the kernel; nothing else is loaded or reverted until it ends"
}
