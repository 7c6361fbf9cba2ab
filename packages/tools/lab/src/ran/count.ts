import type { RanFunction } from '@kmend/protocol';
import { LabError } from '../error.ts';
import type { Host } from '../host.ts';
import { PATIENCE_MS } from '../proof/patience.ts';
import type { RegisteredCode } from './registered.ts';

const FILE = '/run/kmend-lab/probes';
/** Group, and beginning of the name, of the probes: `kprobe_profile` shows the name alone. */
const GROUP = 'kmend_ran';
/** Each probe is one more write to the kernel's table of calls; under emulation that is 50 ms. */
const LIMIT_MS = 900_000;

/** $1 module. Prints where each of its sections is. */
const SECTIONS = `
cd "/sys/module/$1/sections" || exit 1
for s in .[!.]* [!.]*; do [ -f "$s" ] && echo "$s $(cat "$s")"; done
true
`;

/**
 * Sets a probe for each line of the file and prints `refused INDEX` for those that the kernel does not take. In an
 * instance of its own, with its tracing off, so that hits are counted and nothing is written
 * (kernel/trace/trace_kprobe.c, kprobe_dispatcher).
 */
const SET = `
t=/sys/kernel/tracing
[ -e $t/kprobe_events ] || mount -t tracefs tracefs $t || exit 1
[ -d $t/instances/${GROUP} ] || mkdir $t/instances/${GROUP} || exit 1
echo 0 >$t/instances/${GROUP}/tracing_on
while read -r index address; do
  e=${GROUP}_$index
  { echo "p:${GROUP}/$e $address" >>$t/kprobe_events; } 2>/dev/null &&
    { echo 1 >$t/instances/${GROUP}/events/${GROUP}/$e/enable; } 2>/dev/null || echo "refused $index"
done <${FILE}
`;

/** Prints the counts and removes the probes; before the module goes, whose code they are in. */
const TAKE = `
t=/sys/kernel/tracing
grep -s ' *${GROUP}_' $t/kprobe_profile
[ -d $t/instances/${GROUP}/events/${GROUP} ] && echo 0 >$t/instances/${GROUP}/events/${GROUP}/enable
sed -n 's/^p:\\(${GROUP}\\/[^ ]*\\) .*/-:\\1/p' $t/kprobe_events | while read -r gone; do echo "$gone" >>$t/kprobe_events || exit 1; done
rmdir $t/instances/${GROUP}
! grep -q '${GROUP}/' $t/kprobe_events
`;

/**
 * Counts how often each replaced function's new code is called, with kprobe events on the first instruction of that
 * code: a stock kernel has them (CONFIG_FUNCTION_PROFILER it has not), and they do not meet livepatch's own
 * redirection, which is at the old code. Counts of several loads add up.
 */
export class RunCounter {
  readonly #host: Host;
  readonly #module: string;
  readonly #codes: readonly RegisteredCode[];
  readonly #counts: number[];
  readonly #refused = new Set<number>();
  /** Objects in memory at some time while it counted. */
  readonly #present = new Set<string>(['vmlinux']);
  #counting = false;
  #counted = false;

  constructor(host: Host, module: string, codes: readonly RegisteredCode[]) {
    this.#host = host;
    this.#module = module;
    this.#codes = codes;
    this.#counts = codes.map(() => 0);
  }

  /** The livepatch is loaded: counts from here on. */
  async begin(): Promise<void> {
    const sections = parseSections(await this.#sh(SECTIONS, this.#module));
    await this.#host.copyIn(Buffer.from(probeLines(this.#codes, sections)), FILE);
    this.#counting = true;
    const printed = await this.#sh(SET);
    for (const [, index] of printed.matchAll(/^refused (\d+)$/gm)) this.#refused.add(Number(index));
  }

  /** Ends the count before the livepatch is reverted or replaced. Does nothing if it is not counting. */
  async end(): Promise<void> {
    if (!this.#counting) return;
    const memory = await this.#host.check("sed 's/ .*//' /proc/modules");
    for (const name of memory.split('\n')) this.#present.add(name);
    const printed = await this.#sh(TAKE);
    this.#counting = false;
    this.#counted = true;
    for (const [index, hits] of parseProfile(printed)) this.#counts[index] = (this.#counts[index] ?? 0) + hits;
  }

  /** Counts up to the last `end`; `null` if there was none. */
  functions(): RanFunction[] | null {
    if (!this.#counted) return null;
    return this.#codes.map(({ object, name, sympos, source }, index) => {
      const count = this.#refused.has(index) ? null : (this.#counts[index] ?? 0);
      return { object, name, sympos, source, count, inMemory: this.#present.has(object) };
    });
  }

  #sh(script: string, ...words: string[]): Promise<string> {
    return this.#host.check(['/bin/sh', '-c', script, 'sh', ...words], { timeoutMs: PATIENCE_MS + LIMIT_MS });
  }
}

/** What `SECTIONS` printed: name to address. */
export function parseSections(printed: string): ReadonlyMap<string, bigint> {
  const found = new Map<string, bigint>();
  for (const [, name, address] of printed.matchAll(/^(\S+) (0x[0-9a-f]+)$/gm)) {
    if (name !== undefined && address !== undefined) found.set(name, BigInt(address));
  }
  return found;
}

/** A line each for `SET`: the number of the function and its address. */
export function probeLines(codes: readonly RegisteredCode[], sections: ReadonlyMap<string, bigint>): string {
  const lines = codes.map(({ name, section, offset }, index) => {
    const start = sections.get(section);
    if (start === undefined || start === 0n) {
      throw new LabError('lab-command-failed', `the kernel does not say where ${section} of ${name} is`);
    }
    return `${index} 0x${(start + offset).toString(16)}\n`;
  });
  return lines.join('');
}

/** Lines of `kprobe_profile`: number of the function to its hits, those that a probe inside a probe missed included. */
export function parseProfile(printed: string): ReadonlyMap<number, number> {
  const found = new Map<number, number>();
  for (const [, index, hits, missed] of printed.matchAll(/^\s*kmend_ran_(\d+)\s+(\d+)\s+(\d+)\s*$/gm))
    found.set(Number(index), Number(hits) + Number(missed));
  return found;
}
