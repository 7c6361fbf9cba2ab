/**
 * Prints a line for each task that has not switched to $1 (1: patched, 0: unpatched), at most 20: its name, its id,
 * and the functions on its stack, innermost first (Documentation/livepatch/livepatch.rst, "Consistency model").
 */
export const BLOCKERS = `
for d in /proc/[0-9]*/task/[0-9]*; do
  state=$(cat "$d/patch_state" 2>/dev/null) || continue
  [ "$state" = -1 ] || [ "$state" = "$1" ] && continue
  stack=$(sed -n 's/^\\[<[0-9a-f]*>\\] \\([^+ ]*\\).*/\\1/p' "$d/stack" 2>/dev/null | head -n 8 | paste -sd' ')
  echo "$(cat "$d/comm" 2>/dev/null) (\${d##*/}): $stack"
done | head -n 20
`;
