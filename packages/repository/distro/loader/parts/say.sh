# shellcheck shell=dash
# Messages: on stderr, and in the journal unless stderr leads there already.

# "code subject text" a line, in order; and the kernel's own messages if it refused something.
problems=
kernel_log=
newline='
'

# One line of printable text, bounded. In ASCII alone: a task may call itself U+009B, which a terminal takes for an
# escape sequence, or U+202E, which turns the order of a line round.
clean() {
  printf '%s' "$1" | tr '\n\t' '  ' | tr -d '\000-\037\177' | LC_ALL=C tr '\200-\377' '?' | cut -c "1-${2:-500}"
}

# Does not repeat a message of the last run in the journal, where stderr of a unit leads.
say() {
  if [ "${quiet-no}" = yes ] && [ -n "${JOURNAL_STREAM-}" ] && [ ! -t 2 ]; then return 0; fi
  printf 'kmend-livepatch: %s\n' "$1" >&2
  [ -z "${JOURNAL_STREAM-}" ] || return 0
  [ "${quiet-no}" = no ] || return 0
  [ -z "$logger" ] || "$logger" -t kmend-livepatch -- "$1" 2>/dev/null || :
}

# problem CODE SUBJECT TEXT
problem() {
  local text hint
  text=$(clean "$3")
  case $newline$problems in *"$newline$1 $2 "*) return 0 ;; esac
  problems="$problems$1 $2 $text$newline"
  hint=$(hint_of "$1")
  if known_problem "$1" "$2"; then quiet=yes; else quiet=no; fi
  say "$text ($1)${hint:+; $hint}"
  quiet=no
}

# The code of the first problem that blocks; empty if there is none.
first_problem() {
  local code rest
  while read -r code rest; do
    [ -n "$code" ] || continue
    if ! is_remark "$code"; then
      printf '%s %s\n' "$code" "$rest"
      return 0
    fi
  done <<END
$problems
END
}

die() {
  problem "$1" - "$2"
  case $1 in usage) exit 6 ;; interrupted) exit 130 ;; esac
  exit 5
}
