import { parseJournal } from '@kmend/agent/journal';
import type { Host } from '@kmend/lab';
import { z } from 'zod';
import { layout } from './faults/layout.ts';

/** What `kmend-agent status --json` claims; only what is judged. */
const Claims = z.object({
  hostId: z.string(),
  status: z.object({
    contact: z.object({ state: z.string() }),
    coverage: z.object({ state: z.string() }),
    loaded: z.object({ state: z.string() }),
    transition: z.object({ state: z.string() }),
    verified: z.object({ state: z.string() }),
  }),
  state: z.string(),
  effectiveSerial: z.int().nullable(),
  chosenSerial: z.int().nullable(),
  reason: z.string().nullable(),
  problem: z.object({ code: z.string(), message: z.string() }).nullable(),
  hold: z.object({}).nullable(),
  quarantined: z.array(z.object({ serial: z.int(), code: z.string() })),
  exitCode: z.int(),
});
export type Claims = z.infer<typeof Claims>;

export interface Shown {
  readonly name: string;
  readonly enabled: boolean;
  readonly transition: boolean;
}

/** A host as it is, beside what its agent says of it. */
export interface Observation {
  /** Livepatches in sysfs, before the agent and the reproducer were asked and after both. */
  readonly before: readonly Shown[];
  readonly after: readonly Shown[];
  /** `undefined`: the agent gave no status; then `said` tells what it gave. */
  readonly claims: Claims | undefined;
  readonly said: string;
  /** Whether the flaw is there, by its reproducer: `fixed` or `vulnerable`. */
  readonly effect: string;
  /** The journal's text; `undefined`: there is none. */
  readonly journal: string | undefined;
  /** Why the journal cannot be read; `undefined`: it can, or is not there. */
  readonly journalProblem: string | undefined;
  /** Files in the agent's folders that speak of a lost or half-written journal. */
  readonly remains: readonly string[];
  /**
   * Modules that the kernel took since boot and that are not the distribution's (the tracepoint module:module_load).
   */
  readonly foreign: readonly string[];
  /** SHA-256 of every file that the agent handed to the kernel since the last observation. */
  readonly handed: readonly string[];
  /** GNU build ids of kmend's modules in memory, by name. */
  readonly buildIds: Readonly<Record<string, string>>;
  /** `running`, `degraded` and so on. */
  readonly system: string;
  readonly failedUnits: readonly string[];
  /** Livepatches that the kernel's own log says it enabled in this boot. */
  readonly enabled: readonly string[];
}

/**
 * Prints one part after the other, each behind a line `== name`. Few programs: each is dear where every instruction is
 * emulated.
 */
const SCRIPT = `
shown() { for d in /sys/kernel/livepatch/*/; do
  [ -d "$d" ] || continue; n=\${d%/}; e=; t=; read -r e <"$d/enabled"; read -r t <"$d/transition"; echo "\${n##*/} $e $t"
done 2>/dev/null; }
echo "== before"; shown
echo "== status"; timeout 60 kmend-agent status --json 2>&1
echo; echo "== effect"; setpriv --reuid=65534 --regid=65534 --clear-groups "$1" 2>&1
echo; echo "== after"; shown
echo "== journal"; [ ! -e ${layout.journal} ] || cat ${layout.journal}
echo; echo "== remains"; find ${layout.state} -name '*.damaged' -o -name '*.tmp'
echo "== foreign"; sed -n 's/.*module_load: \\([^ ]*\\) [A-Z][A-Z]*.*/\\1/p' /sys/kernel/tracing/trace
echo "== handed"; for f in /run/kmend-fault/handed/*.ko; do [ -e "$f" ] && sha256sum "$f" && rm "$f"; done
echo "== buildIds"; for f in /sys/module/kmend_*/notes/.note.gnu.build-id; do
  [ -e "$f" ] && n=\${f#/sys/module/} && echo "\${n%%/*} $(od -An -v -tx1 -w64 -j16 "$f")"; done
echo "== system"; systemctl show --property=SystemState --value
echo "== failedUnits"; systemctl list-units --failed --plain --no-legend
echo "== enabled"; dmesg | sed -n "s/.*livepatch: enabling patch '\\([^']*\\)'.*/\\1/p"
`;

/**
 * Looks at a host from outside and from inside, in one call. `reproducer`: the path of the flaw's program in the guest.
 */
export async function observe(host: Host, reproducer: string): Promise<Observation> {
  const result = await host.run(['/bin/sh', '-c', SCRIPT, 'sh', reproducer], { timeoutMs: 120_000 });
  return parseObservation(result.stdout);
}

export function parseObservation(text: string): Observation {
  const parts = new Map<string, string>();
  for (const part of `\n${text}`.split('\n== ').slice(1)) {
    const end = part.indexOf('\n');
    parts.set(end < 0 ? part : part.slice(0, end), end < 0 ? '' : part.slice(end + 1).trim());
  }
  const of = (name: string): string => parts.get(name) ?? '';
  const lines = (name: string): string[] =>
    of(name)
      .split('\n')
      .filter((line) => line !== '');
  const journal = of('journal') === '' ? undefined : of('journal');
  return {
    before: lines('before').map(shownOf),
    after: lines('after').map(shownOf),
    claims: claimsOf(of('status')),
    said: of('status').slice(0, 2000),
    effect: of('effect'),
    journal,
    journalProblem: journal === undefined ? undefined : problemOf(journal),
    remains: lines('remains'),
    foreign: [...new Set(lines('foreign'))],
    handed: lines('handed').map(firstWord),
    buildIds: Object.fromEntries(
      lines('buildIds').map((line) => {
        const [name = '', ...bytes] = line.split(/ +/);
        return [name, bytes.join('')];
      }),
    ),
    system: of('system'),
    failedUnits: lines('failedUnits').map(firstWord),
    enabled: [...new Set(lines('enabled'))],
  };
}

function firstWord(line: string): string {
  return line.split(' ', 1)[0] ?? '';
}

function shownOf(line: string): Shown {
  const [name = '', enabled, transition] = line.split(' ');
  return { name, enabled: enabled === '1', transition: transition !== '0' };
}

function claimsOf(text: string): Claims | undefined {
  try {
    return Claims.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

function problemOf(text: string): string | undefined {
  try {
    const parsed = parseJournal(text);
    return parsed.ok ? undefined : parsed.problem;
  } catch (error) {
    return String(error);
  }
}
