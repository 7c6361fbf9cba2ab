const TASK = 'kmend-sleeper';
const PROGRAM = `/root/${TASK}`;
const PID_FILE = `/run/${TASK}.pid`;

/** Until the process is called so and in that state (proc(5), `/proc/pid/stat`), five seconds at most. */
const until = (state: string): string =>
  `for i in $(seq 100); do read -r _ comm now _ <"/proc/$pid/stat" && [ "$comm $now" = "(${TASK}) ${state}" ] && break; sleep 0.05; done; [ "$comm $now" = "(${TASK}) ${state}" ]`;

/** A process that is stopped by a signal and so stands in `do_signal_stop`, in lines for the guest's shell. */
export const SLEEPER = {
  hold: `set -e
[ ! -e ${PID_FILE} ] || kill -KILL "$(cat ${PID_FILE})" 2>/dev/null || true
cp /bin/sleep ${PROGRAM}
setsid ${PROGRAM} infinity </dev/null >/dev/null 2>&1 & pid=$!
echo $pid >${PID_FILE}
${until('S')}
kill -STOP $pid
${until('T')}`,
  release: `kill -CONT "$(cat ${PID_FILE})"`,
  task: TASK,
} as const;
