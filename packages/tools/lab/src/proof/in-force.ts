import type { PatchedObject } from '@kmend/protocol';
import { isRedirected } from '../code-in-force.ts';
import type { Host } from '../host.ts';
import { ProofFailure } from './failure.ts';
import { PATIENCE_MS } from './patience.ts';

/** Prints what the kernel says of livepatch $1, all modules in memory, and every function that ftrace redirects. */
const COLLECT = `
tracing=/sys/kernel/tracing
[ -e $tracing/enabled_functions ] || mount -t tracefs tracefs $tracing || exit 1
sed 's/ .*//; s/^/module /' /proc/modules
sed 's/^/ftrace /' $tracing/enabled_functions
for d in /sys/kernel/livepatch/*; do [ -d "$d" ] && echo "livepatch \${d##*/}"; done
cd "/sys/kernel/livepatch/$1" 2>/dev/null || exit 0
echo "state enabled=$(cat enabled) transition=$(cat transition)"
for o in */patched; do echo "object \${o%/patched} $(cat "$o")"; done
for f in */*,*; do [ -d "$f" ] && echo "function $f"; done
`;

/** What is in force of a livepatch. */
export interface InForce {
  /** Objects of the livepatch that are in memory and patched. */
  readonly patched: readonly string[];
  /** Those that are not in memory. */
  readonly absent: readonly string[];
  readonly functions: number;
}

/**
 * Checks that a livepatch, and no other, is in force: each function of each object in memory. Throws `ProofFailure`.
 */
export async function requireInForce(host: Host, name: string, objects: readonly PatchedObject[]): Promise<InForce> {
  return judgeInForce(await collect(host, name), name, objects);
}

/** Checks that nothing of any livepatch is left. Throws `ProofFailure`. */
export async function requireNothingLeft(host: Host): Promise<void> {
  judgeNothingLeft(await collect(host, '.none'));
}

function collect(host: Host, name: string): Promise<string> {
  return host.check(['/bin/sh', '-c', COLLECT, 'sh', name], { timeoutMs: PATIENCE_MS });
}

/** The judgement on what `COLLECT` printed. */
export function judgeInForce(collected: string, name: string, objects: readonly PatchedObject[]): InForce {
  const lines = read(collected);
  const others = lines.get('livepatch').filter((other) => other !== name);
  if (others.length > 0) throw new ProofFailure(`beside ${name} there is ${others.join(', ')}`);
  const state = lines.get('state')[0] ?? 'not there';
  if (state !== 'enabled=1 transition=0') throw new ProofFailure(`${name} is not in force: ${state}`);
  const inMemory = new Set(['vmlinux', ...lines.get('module')]);
  const patched = new Set(lines.get('object').flatMap((line) => (line.endsWith(' 1') ? [line.slice(0, -2)] : [])));
  const claimed = new Set(lines.get('function'));
  const redirected = redirections(lines.get('ftrace'));
  const present = objects.filter((object) => inMemory.has(object.name));
  for (const object of objects) {
    if (patched.has(object.name) !== inMemory.has(object.name)) {
      const is = patched.has(object.name) ? 'is patched without being in memory' : 'is in memory and not patched';
      throw new ProofFailure(`the object ${object.name} ${is}`);
    }
  }
  const missing = present.flatMap((object) =>
    object.functions.flatMap((entry) => {
      // The kernel shows a unique name as position 1 (klp_init_func).
      const claim = claimed.has(`${object.name}/${entry.name},${Math.max(1, entry.sympos)}`);
      return claim && redirected.take(entry.name) ? [] : [`${object.name}: ${entry.name}`];
    }),
  );
  if (missing.length > 0) throw new ProofFailure('functions are not in force', missing);
  return {
    patched: present.map((object) => object.name),
    absent: objects.filter((object) => !inMemory.has(object.name)).map((object) => object.name),
    functions: present.reduce((sum, object) => sum + object.functions.length, 0),
  };
}

/** The same for a kernel without any. */
export function judgeNothingLeft(collected: string): void {
  const lines = read(collected);
  const left = [
    ...lines.get('livepatch'),
    ...lines.get('module').filter((module) => /^kmend_[0-9a-f]{12}$/.test(module)),
    ...lines.get('ftrace').filter(isRedirected),
  ];
  if (left.length > 0) throw new ProofFailure('something is left of the livepatch', left);
}

function read(collected: string): { get(kind: string): readonly string[] } {
  const lines = Map.groupBy(collected.split('\n'), (line) => line.split(' ', 1)[0] ?? '');
  return { get: (kind) => (lines.get(kind) ?? []).map((line) => line.slice(kind.length + 1)) };
}

/** ftrace shows functions of one name as several lines that nothing tells apart: each stands for one of them. */
function redirections(lines: readonly string[]): { take(name: string): boolean } {
  const left = new Map<string, number>();
  for (const line of lines) {
    const name = line.split(' ', 1)[0] ?? '';
    if (isRedirected(line)) left.set(name, (left.get(name) ?? 0) + 1);
  }
  return {
    take(name) {
      const count = left.get(name) ?? 0;
      left.set(name, count - 1);
      return count > 0;
    },
  };
}
