# shellcheck shell=dash disable=SC2034
# Paths on the host, and of its programs. KMEND_LIVEPATCH_ROOT and KMEND_LIVEPATCH_PATH are only for tests.
root=${KMEND_LIVEPATCH_ROOT-}
PATH=${KMEND_LIVEPATCH_PATH:-/usr/sbin:/usr/bin:/sbin:/bin}
LC_ALL=C
export PATH LC_ALL
umask 022

# What the package manager installed: <release>/<package>/{livepatch.ko,manifest,manifest.sig}.
packages_dir=$root/usr/lib/kmend-livepatch
key_file=$root/usr/share/kmend-livepatch/packages.gpg
config_file=$root/etc/kmend-livepatch/config
off_file=$root/etc/kmend-livepatch/off
# The agent's claim (packages/host/rules, claim.ts); lost at a reboot.
agent_claim=$root/run/kmend-agent/loader/claim

# Kept over reboots.
state_dir=$root/var/lib/kmend-livepatch
state_file=$state_dir/state
# Lost at a reboot. `state` exists only while the one above cannot be written; the timers' units look for `retry`,
# `retry-busy` and `soak`; `booted`: the boot's own sync has run; `insmod`: one that cannot be killed; `private` is only
# for root: what is being verified and loaded, and the manifest of each livepatch that was loaded in this boot.
run_dir=$root/run/kmend-livepatch
run_state=$run_dir/state
retry_flag=$run_dir/retry
busy_flag=$run_dir/retry-busy
soak_flag=$run_dir/soak
booted_flag=$run_dir/booted
insmod_file=$run_dir/insmod
private_dir=$run_dir/private
loaded_dir=$private_dir/loaded

livepatch_dir=$root/sys/kernel/livepatch
module_dir=$root/sys/module

# A program by its path. Some shells (busybox) would run one of their own in its place.
program() {
  local directories=$PATH: directory
  while [ -n "$directories" ]; do
    directory=${directories%%:*}
    directories=${directories#*:}
    if [ -n "$directory" ] && [ -x "$directory/$1" ]; then
      printf '%s\n' "$directory/$1"
      return 0
    fi
  done
  return 1
}
