import type { Host } from '../host.ts';
import { ProofFailure } from './failure.ts';
import { PATIENCE_MS } from './patience.ts';

/** How often each loop of the load went round. */
export type Turns = Readonly<Record<string, number>>;

const DIRECTORY = '/run/kmend-lab/busy';

/**
 * Keeps every processor computing, and disk, page cache, directories, /proc and the making of processes at work. Each
 * loop writes a line a turn, and a mark should it end by itself. $1: the number of processors. At a lower priority, so
 * that the lab's own commands come through.
 */
const LOOPS = `
rm -rf ${DIRECTORY} /var/tmp/kmend-busy; mkdir -p ${DIRECTORY} /var/tmp/kmend-busy; cd /var/tmp/kmend-busy || exit 1
compute() { head -c 2M /dev/zero | sha256sum; }
write() { dd if=/dev/zero of=disk bs=64k count=32 conv=fsync && cat disk && rm disk; }
read_files() { find /usr/lib /etc -xdev -type f -size -64k | head -n 100 | xargs cat; }
names() { mkdir d && touch d/a && mv d/a d/b && ln d/b d/c && ls -lR d && rm -r d; }
processes() { for p in /proc/[0-9]*; do read -r line <$p/stat; done; cat /proc/self/maps; }
loop() { ( while "$2"; do echo >>${DIRECTORY}/$1; done >/dev/null 2>&1; echo >${DIRECTORY}/$1.ended ) & }
for i in $(seq "$1"); do loop "compute-$i" compute; done
loop write write; loop read read_files; loop names names; loop processes processes
wait
`;

/** $1: the process group. Prints the loops that ended, ends the rest, and prints what each has done. */
const END = `
cd ${DIRECTORY} || exit 1
for f in *.ended; do [ -e "$f" ] && echo "ended \${f%.ended}"; done
kill -TERM -- "-$1"; while kill -0 -- "-$1" 2>/dev/null; do sleep 0.1; done
for f in *; do case "$f" in *.ended) ;; *) echo "turns $f $(wc -l <"$f")" ;; esac; done
rm -rf /var/tmp/kmend-busy
`;

/** A load on processors and disk inside a host. */
export class BusyLoad {
  readonly #host: Host;
  readonly #group: string;
  readonly #names: readonly string[];

  private constructor(host: Host, group: string, names: readonly string[]) {
    this.#host = host;
    this.#group = group;
    this.#names = names;
  }

  static async start(host: Host, cpus: number): Promise<BusyLoad> {
    await host.copyIn(Buffer.from(LOOPS), '/run/kmend-lab/busy.sh', 0o755);
    const launch = `setsid nice -n 10 sh /run/kmend-lab/busy.sh ${cpus} </dev/null >/dev/null 2>&1 & echo $!`;
    const group = await host.check(launch);
    const compute = Array.from({ length: cpus }, (_, index) => `compute-${index + 1}`);
    return new BusyLoad(host, group, [...compute, 'write', 'read', 'names', 'processes']);
  }

  /** Ends the load; a loop that ended by itself, or never went round, is a `ProofFailure`. */
  async stop(): Promise<Turns> {
    const script = ['/bin/sh', '-c', END, 'sh', this.#group];
    return judgeLoad(this.#names, await this.#host.check(script, { timeoutMs: PATIENCE_MS }));
  }
}

/** The judgement on what `END` printed. */
export function judgeLoad(names: readonly string[], printed: string): Turns {
  const ended = [...printed.matchAll(/^ended (\S+)$/gm)].map(([, name]) => name);
  if (ended.length > 0) throw new ProofFailure(`part of the load failed: ${ended.join(', ')}`);
  const turns = new Map([...printed.matchAll(/^turns (\S+) (\d+)$/gm)].map(([, name, count]) => [name, Number(count)]));
  const idle = names.filter((name) => (turns.get(name) ?? 0) === 0);
  if (idle.length > 0) throw new ProofFailure(`part of the load stood still: ${idle.join(', ')}`);
  return Object.fromEntries(names.map((name) => [name, turns.get(name) ?? 0]));
}
