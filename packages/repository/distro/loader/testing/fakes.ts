/**
 * Programs that act on the fake sysfs under $KMEND_LIVEPATCH_ROOT as the kernel would on the real one. A livepatch.ko
 * is text there: the module's name, then `replace` for a cumulative one. `fake/` holds what a test wants to happen:
 * - refuse.MODULE: what insmod ends with; says: what the kernel log then says
 * - says-loaded: what the kernel log says when one is loaded
 * - slow: an insmod takes a hundred seconds
 * - blocked: no transition ends; blocked-in: none on its way in does; busy: no module can be unloaded
 * - kill-at: the step (a program's start or its end) at which the whole process group is killed; step: the one there is
 */
const step = `
step() {
  [ -e "$R/fake/kill-at" ] || return 0
  n=$(($(cat "$R/fake/step" 2>/dev/null || echo 0) + 1))
  echo "$n" >"$R/fake/step"
  [ "$n" -ne "$(cat "$R/fake/kill-at")" ] || { rm "$R/fake/kill-at"; kill -9 0; }
}
`;

const head = `#!/bin/dash
R=$KMEND_LIVEPATCH_ROOT
L=$R/sys/kernel/livepatch
M=$R/sys/module
${step}`;

export const fakePrograms: Readonly<Record<string, string>> = {
  insmod: `${head}
step
read -r module kind <"$1"
echo "insmod $module" >>"$R/fake/calls"
fail() {
  echo "insmod: ERROR: could not insert module $1: $2" >&2
  exit 1
}
if [ -e "$R/fake/refuse.$module" ]; then
  cat "$R/fake/says" >>"$R/fake/log" 2>/dev/null
  fail "$1" "$(cat "$R/fake/refuse.$module")"
fi
[ ! -d "$M/$module" ] || fail "$1" 'File exists'
for t in "$L"/*/transition; do
  [ ! -e "$t" ] || [ "$(cat "$t")" = 0 ] || fail "$1" 'Device or resource busy'
done
mkdir -p "$L/$module" "$M/$module"
echo 40960 >"$M/$module/coresize"
echo 0 >"$M/$module/initsize"
echo "$kind" >"$M/$module/kind"
echo 1 >"$L/$module/transition"
echo 1 >"$L/$module/enabled"
cat "$R/fake/says-loaded" >>"$R/fake/log" 2>/dev/null
if [ -e "$R/fake/slow" ]; then
  read -r up rest <"$R/proc/uptime"
  echo "$((\${up%.*} + 100)).50 $rest" >"$R/proc/uptime"
fi
step
`,
  rmmod: `${head}
step
echo "rmmod $1" >>"$R/fake/calls"
[ ! -e "$R/fake/busy" ] && [ ! -d "$L/$1" ] && [ -d "$M/$1" ] || exit 1
rm -r "$M/$1"
step
`,
  // Each sleep is half a second for the kernel, none for the test.
  sleep: `${head}
step
read -r up rest <"$R/proc/uptime"
echo "$((\${up%.*} + 1)).50 $rest" >"$R/proc/uptime"
if [ -e "$R/fake/blocked" ]; then
  for e in "$L"/*/enabled; do
    if [ -e "$e" ] && [ "$(cat "$e")" = 0 ]; then echo 1 >"\${e%/*}/transition"; fi
  done
  exit 0
fi
for d in "$L"/*; do
  [ -d "$d" ] || continue
  m=\${d##*/}
  if [ "$(cat "$d/enabled")" = 0 ]; then
    rm -r "$d"
  elif [ "$(cat "$d/transition")" = 1 ] && [ ! -e "$R/fake/blocked-in" ]; then
    echo 0 >"$d/transition"
    if [ "$(cat "$M/$m/kind")" = replace ]; then
      for o in "$L"/*; do [ "$o" = "$d" ] || rm -r "$o"; done
    fi
  fi
done
step
`,
  dmesg: `${head}
cat "$R/fake/log"
`,
  logger: `${head}
shift 3
echo "$*" >>"$R/fake/logged"
`,
  // Where a life may end: between writing a file and syncing it, before and after it gets its name.
  sync: `${head}
step
exec /usr/bin/sync "$@"
`,
  mv: `${head}
/usr/bin/mv "$@" || exit
step
`,
};
