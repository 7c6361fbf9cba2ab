import type { DepotKernel, Entry, EntryFunction } from './schema.ts';

/** What a host that follows the newest state has: perhaps a cumulative livepatch, and the stacked ones on it. */
export interface Stack {
  readonly base: Entry | undefined;
  /** Bottom first. */
  readonly stacked: readonly Entry[];
}

export function stackOf(kernel: DepotKernel): Stack {
  let base: Entry | undefined;
  let stacked: Entry[] = [];
  for (const entry of kernel.entries) {
    if (entry.withdrawn) continue;
    if (entry.kind === 'cumulative') {
      base = entry;
      stacked = [];
    } else if (stacked.at(-1)?.package === entry.package) stacked[stacked.length - 1] = entry;
    else stacked.push(entry);
  }
  return { base, stacked };
}

/** Bottom first. */
export function layersOf({ base, stacked }: Stack): readonly Entry[] {
  return base === undefined ? stacked : [base, ...stacked];
}

export function topOf(stack: Stack): Entry | undefined {
  return layersOf(stack).at(-1);
}

/** How deep a kernel's stack is: what status, warnings and the console go by. */
export interface StackMeasure {
  readonly depth: number;
  /** Functions covered by at least one livepatch. */
  readonly functions: number;
  /** Of these, covered by several. */
  readonly covered: number;
  /** Bytes of the module files. */
  readonly bytes: number;
}

export function measure(stack: Stack): StackMeasure {
  const layers = layersOf(stack);
  const times = new Map<string, number>();
  for (const { functions } of layers) {
    for (const key of new Set(functions.map(functionKey))) times.set(key, (times.get(key) ?? 0) + 1);
  }
  return {
    depth: layers.length,
    functions: times.size,
    covered: [...times.values()].filter((count) => count > 1).length,
    bytes: layers.reduce((sum, { size }) => sum + size, 0),
  };
}

export function functionKey({ object, name, sympos }: EntryFunction): string {
  return `${object} ${name} ${sympos}`;
}
