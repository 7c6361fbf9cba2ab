# shellcheck shell=dash
# The commands of administrators, the package manager and the units.

version=0.1.0

usage() {
  cat <<'END'
kmend-livepatch COMMAND

  sync [--package|--boot]   make the kernel run the livepatches that are installed for it
  status [--json]           show what is in force, what is not, and why; changes nothing
  measure [--json]          show what the stack costs: depth, functions covered several times, memory, transitions
  hold                      keep the livepatches in force, and load no others, until resume
  resume                    lift hold, revert, quarantine and delays, then sync
  revert                    revert every livepatch of the packages, and load none until resume
  yield [--until-boot]      let the agent drive this host from now on, or until the next boot
  take [--over MODULE]      let the packages drive it again, and replace MODULE of the agent
  soaked, shutdown          for the units

Exit codes: 0 done; 5 failed, or refused; 6 wrong usage; 130 interrupted. Of status: 0 everything installed is in force, or nothing is needed,
1 nothing is, 2 something installed is not, 3 nothing is installed for this kernel.
END
}

command_sync() {
  local missing
  case ${1-} in
    '') ;;
    # The package manager never fails for a livepatch.
    --package)
      trap 'exit 0' EXIT
      lock_seconds=$package_lock_seconds
      deadline_seconds=$package_deadline_seconds
      ;;
    --boot)
      if missing=$(missing_mount); then
        say "$missing, which holds the state, is not mounted yet; kmend-livepatch-late.service continues when it is"
        return 0
      fi
      mkdir -p "$run_dir" && (: >"$booted_flag") 2>/dev/null
      # The network waits for it.
      wait_limit=$boot_wait_limit
      deadline_seconds=$boot_deadline_seconds
      ;;
    *) die usage "sync has no option $(clean "$1" 60)" ;;
  esac
  sync_once
}

deadline_seconds=0
sync_once() {
  begin "$lock_seconds"
  if [ "$deadline_seconds" -gt 0 ]; then
    read_uptime
    deadline=$((now + deadline_seconds * 100))
  fi
  synchronise
  finish
}

command_status() {
  local code modules
  json_or_nothing "$@"
  read_config
  read_kernel || die kernel-unknown 'the kernel does not say its build id or its boot id'
  state_load || die state-damaged 'the state cannot be read'
  state_of_this_machine
  installed_look
  modules=$(stack)
  code=$(status_code "$modules")
  if [ "$as_json" = yes ]; then looked "$modules" "$code" | json; else looked "$modules" "$code" | looked_text; fi
  return "$code"
}

command_measure() {
  json_or_nothing "$@"
  read_kernel || die kernel-unknown 'the kernel does not say its build id or its boot id'
  state_load || die state-damaged 'the state cannot be read'
  state_of_this_machine
  installed_look
  if [ "$as_json" = yes ]; then measured | json; else measured | measured_text; fi
}

as_json=no
json_or_nothing() {
  case $# in
    0) return 0 ;;
    1) [ "$1" != --json ] || { as_json=yes && return 0; } ;;
  esac
  die usage 'the only option is --json'
}

nothing_more() {
  [ "$#" -eq 0 ] || die usage "the command takes no arguments: $(clean "$1" 60)"
}

# An administrator's order is on disk before it is carried out.
save_or_fail() {
  state_save || {
    finish
    exit 5
  }
}

command_hold() {
  local module
  nothing_more "$@"
  begin "$lock_seconds"
  set_hold stay
  for module in $(in_kernel); do state_add "held $module"; done
  save_or_fail
  synchronise
  finish
}

command_revert() {
  nothing_more "$@"
  begin "$lock_seconds"
  set_hold out
  save_or_fail
  synchronise
  finish
}

set_hold() {
  state_drop hold
  state_drop held
  state_add "hold $1 $(date -u +%Y-%m-%dT%H:%M:%SZ)"
}

command_resume() {
  nothing_more "$@"
  begin "$lock_seconds"
  state_drop hold
  state_drop held
  state_drop quarantined
  state_drop deferred
  save_or_fail
  synchronise
  finish
}

command_yield() {
  local until_boot=no
  case $#:${1-} in
    0:) ;;
    1:--until-boot) until_boot=yes ;;
    *) die usage 'yield [--until-boot]' ;;
  esac
  begin "$lock_seconds"
  state_drop yielded
  state_drop over
  if [ "$until_boot" = yes ]; then
    state_add "yielded $(date -u +%Y-%m-%dT%H:%M:%SZ) $boot_id"
  else
    state_add "yielded $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  fi
  finish
}

command_take() {
  local over=
  case $#:${1-}:${2-} in
    0:*) ;;
    2:--over:kmend_????????????)
      over=${2#kmend_}
      case $over in *[!0-9a-f]*) die usage 'MODULE is kmend_ and 12 hex digits' ;; esac
      over=kmend_$over
      ;;
    *) die usage 'take [--over MODULE]' ;;
  esac
  begin "$lock_seconds"
  installed_read
  if [ -z "$installed" ]; then
    problem none-installed - 'no livepatch that could take over is installed for this kernel'
    finish
    return 5
  fi
  problems=
  state_drop yielded
  [ -z "$over" ] || state_add "over $over"
  save_or_fail
  synchronise
  finish
}

# For the timer: trusts what came through its soak, reverts what the kernel complains of.
command_soaked() {
  local code subject text
  nothing_more "$@"
  begin "$lock_seconds"
  watch_log
  if [ -n "$(condemned)" ]; then
    synchronise
    finish
    return
  fi
  while read -r code subject text; do
    [ -z "$code" ] || known_problem "$code" "$subject" || state_add "problem $code $subject $text"
  done <<END
$problems
END
  flag_soak
  state_save || return 5
  if [ -n "$(first_problem)" ]; then return 5; fi
}

# The host shuts down orderly.
command_shutdown() {
  nothing_more "$@"
  begin "$shutdown_lock_seconds"
  # What the kernel complains of now is not loaded at the next boot.
  watch_log
  state_drop shutdown
  state_add "shutdown $boot_id"
  state_save || return 5
}

interrupted() {
  [ "$locked" = no ] || rm -rf "$private_dir"/load-* "$private_dir"/check-* 2>/dev/null
  (: >"$retry_flag") 2>/dev/null
  die interrupted 'interrupted before the end of the run'
}

# Looked up once: some shells would run programs of their own in their place.
find_programs() {
  insmod=$(program insmod)
  rmmod=$(program rmmod)
  dmesg=$(program dmesg)
  gpgv=$(program gpgv)
  flock=$(program flock)
  logger=$(program logger)
  sleep=$(program sleep)
  timeout=$(program timeout)
}

main() {
  local command=${1-} foreign
  [ "$#" -eq 0 ] || shift
  find_programs
  case $command in
    --help | -h)
      usage
      return 0
      ;;
    --version)
      echo "kmend-livepatch $version"
      return 0
      ;;
    sync | status | measure | hold | resume | revert | yield | take | soaked | shutdown) ;;
    *) die usage "unknown command: $(clean "${command:-none}" 60)" ;;
  esac
  if [ -z "$root" ] && [ "$(id -u)" != 0 ]; then die not-root 'this command needs root'; fi
  case $command in
    status | measure) ;;
    *)
      # For the package manager and the units this is a success without work. An administrator gets the error.
      if foreign=$(foreign_kernel); then
        case $command:${1-} in
          sync:--* | soaked:* | shutdown:*)
            say "nothing is loaded: ${foreign#* } (${foreign%% *})"
            return 0
            ;;
        esac
        die "${foreign%% *}" "${foreign#* }"
      fi
      ;;
  esac
  trap interrupted INT TERM HUP
  "command_$command" "$@"
}
