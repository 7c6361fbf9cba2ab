# shellcheck shell=dash
# insmod, which the kernel may keep for ever: it is not waited for without an end, and never has the lock for itself.

# What it ended with: a status; `ended`: it took too long and was ended; `at-work`: it took too long, and not even that
# works. And what it said.
insert_status=
insert_said=

# insert MODULE FILE. Whether the livepatch is in the kernel is for sysfs to say.
insert() {
  local module=$1 file=$2 said_file=$private_dir/load-said told pid
  if [ -z "$timeout" ]; then
    insert_said=$("$insmod" "$file" 2>&1)
    insert_status=$?
    return 0
  fi
  # cat(1) ends with insmod or with its time: timeout(1) on insmod itself would wait for one that the kernel does not
  # let go. Nor may that one keep open what apt or dpkg reads.
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
  [ "$insert_status" != ended ] || insert_said="insmod did not end in $insmod_seconds seconds, and was ended"
}

# Its process id at once, its status when it has ended. What it says goes into a file: the pipe is for these two.
insmod_told() {
  # By exec: else a shell keeps a copy of the old one for later.
  exec 2>/dev/null
  "$insmod" "$1" >"$2" 2>&1 &
  echo "$!"
  wait "$!"
  echo "$?"
}

insmod_gone() {
  ! kill -0 "$1" 2>/dev/null
}

# The module that an earlier insmod, which could not be ended, is still at work for; empty where there is none.
insmod_at_work() {
  local pid='' module=''
  [ -e "$insmod_file" ] || return 0
  read -r pid module <"$insmod_file"
  case $pid in '' | *[!0-9]*) return 0 ;; esac
  # Another process may have its number by now.
  read_line "$root/proc/$pid/comm"
  [ "$line" != insmod ] || printf '%s\n' "$module"
}

# Whether one is: then the kernel is asked nothing, for whatever holds that one up would hold up the next one too.
insmod_hangs() {
  local module
  module=$(insmod_at_work)
  if [ -z "$module" ]; then
    rm -f "$insmod_file"
    return 1
  fi
  problem load-hung "$module" "the kernel has not answered yet since it was given $module; it is asked nothing else meanwhile"
}
