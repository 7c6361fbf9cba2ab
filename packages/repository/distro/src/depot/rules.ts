import type { FixSummary, Livepatch } from '@kmend/protocol';
import { DistroError } from '../error.ts';
import { cumulativeName, stackedName } from '../names.ts';
import type { DepotKernel, Entry, EntryFunction, PackageId } from './schema.ts';
import { functionKey, layersOf, type Stack, stackOf, topOf } from './stack.ts';

/** What the rules read of a livepatch whose module is stored. */
export interface Candidate {
  readonly livepatch: Livepatch;
  readonly file: { readonly sha256: string; readonly size: number };
  readonly at: string;
  /** Of a cumulative one: its package takes the stacked ones out in the same run. */
  readonly takeOut: boolean;
  /** Why it is accepted although less of its code ran in its proof than the operator requires. */
  readonly reason?: string;
}

/**
 * The entry that a livepatch becomes on top of what the kernel has; the entry that is there already where it is the
 * same livepatch. Throws the codes of the rules (docs/repositories.md). Pure.
 */
export function place(kernel: DepotKernel, candidate: Candidate): Entry {
  const known = kernel.entries.find(({ sha256, withdrawn }) => sha256 === candidate.file.sha256 && !withdrawn);
  if (known !== undefined) return known;
  return candidate.livepatch.kind === 'stacked' ? placeStacked(kernel, candidate) : placeCumulative(kernel, candidate);
}

function placeStacked(kernel: DepotKernel, candidate: Candidate): Entry {
  const { livepatch } = candidate;
  const [fix, second] = livepatch.fixes;
  if (fix === undefined || second !== undefined) {
    throw new DistroError('stacked-several', `livepatch ${livepatch.id} is stacked and holds several fixes`, {
      hint: 'build one stacked livepatch a fix, or a cumulative one',
    });
  }
  const name = stackedName(kernel.release, fix.id);
  assertOwnName(kernel, name, fix);
  const below = under(kernel, fix);
  const functions = functionsOf(livepatch);
  const beneath = assertFits(livepatch, functions, layersOf(below));
  const position = (topOf(below)?.position ?? 0) + 1;
  return entry(candidate, {
    package: name,
    version: `${position}.${nextRevision(kernel, name, position)}`,
    position,
    functions,
    on: [...new Set(beneath.map(({ module }) => module))],
    below: topOf(below),
    replaces: [],
    takesOut: false,
    overlaps: overlapping(functions, layersOf(below)).length,
  });
}

/** The stack that it is added to: a fix of the top is built again, one further down is not accepted again. */
function under(kernel: DepotKernel, { id }: FixSummary): Stack {
  const { base, stacked } = stackOf(kernel);
  const top = stacked.at(-1);
  if (top?.fixes.some((fix) => fix.id === id)) return { base, stacked: stacked.slice(0, -1) };
  const holder = layersOf({ base, stacked }).find(({ fixes }) => fixes.some((fix) => fix.id === id));
  if (holder === undefined) return { base, stacked };
  throw new DistroError('fix-present', `${id} is in ${holder.package} ${holder.version} already`, {
    hint: 'only the top of the stack can be built again; below it, publish a cumulative livepatch',
  });
}

/**
 * What a stacked livepatch holds again must lie below it, built from the same patches, and it must hold again whatever
 * it covers: else it would revert an earlier fix. Returns the layers it needs.
 */
function assertFits(
  { id, dependsOn = [], inputs }: Livepatch,
  functions: readonly EntryFunction[],
  layers: readonly Entry[],
): Entry[] {
  const needed: Entry[] = [];
  for (const fix of dependsOn) {
    const holder = layers.findLast(({ fixes }) => fixes.some((held) => held.id === fix));
    if (holder === undefined) {
      throw new DistroError('stack-order', `livepatch ${id} was built on ${fix}, which is not below it`, {
        hint: `publish ${fix} first, or build with --on and the fixes in the order of the stack`,
        details: { missing: fix, stack: layers.flatMap(({ fixes }) => fixes.map((held) => held.id)) },
      });
    }
    if (inputs.on !== undefined && inputs.on[fix] !== holder.patches[fix]) {
      throw new DistroError(
        'stack-order',
        `livepatch ${id} was built on another patch of ${fix} than ${holder.package}`,
        {
          hint: 'build it again, on the fixes as they were published',
          details: { fix, expected: holder.patches[fix], actual: inputs.on[fix] },
        },
      );
    }
    needed.push(holder);
  }
  for (const key of overlapping(functions, layers)) {
    const last = layers.findLast((layer) => layer.functions.some((own) => functionKey(own) === key));
    if (last === undefined || last.fixes.some((fix) => dependsOn.includes(fix.id))) continue;
    throw new DistroError('stack-undoes', `livepatch ${id} would revert ${last.package} in ${key.split(' ')[1]}`, {
      hint: `build it with --on and all fixes of the stack, ${last.fixes.at(-1)?.id} among them`,
      details: { function: key, below: last.package },
    });
  }
  return needed;
}

function placeCumulative(kernel: DepotKernel, candidate: Candidate): Entry {
  const { livepatch, takeOut } = candidate;
  const stack = stackOf(kernel);
  const layers = layersOf(stack);
  const held = new Set(livepatch.fixes.map(({ id }) => id));
  const known = new Set(layers.flatMap(({ fixes }) => fixes.map(({ id }) => id)));
  const missing = [...known].filter((id) => !held.has(id));
  if (missing.length > 0) {
    throw new DistroError(
      'cumulative-lacks-fixes',
      `livepatch ${livepatch.id} would revert these: ${missing.slice(0, 10).join(', ')}`,
      { hint: 'build it from all fixes that are published for this kernel', details: { missing } },
    );
  }
  const name = cumulativeName(kernel.release);
  const functions = functionsOf(livepatch);
  const added = livepatch.fixes.filter(({ id }) => !known.has(id)).length;
  return entry(candidate, {
    package: name,
    version: `${nextSerial(kernel)}.1`,
    position: (topOf(stack)?.position ?? 0) + added,
    functions,
    on: [],
    below: undefined,
    replaces: everStacked(kernel),
    takesOut: takeOut,
    overlaps: 0,
  });
}

/** Each stacked package at its newest version; one that was withdrawn as well: a host may have it still. */
function everStacked({ entries }: DepotKernel): PackageId[] {
  const newest = new Map<string, PackageId>();
  for (const { kind, package: name, version } of entries) {
    if (kind === 'stacked') newest.set(name, { package: name, version });
  }
  return [...newest.values()];
}

export function nextSerial({ states }: DepotKernel): number {
  return (states.at(-1)?.serial ?? 0) + 1;
}

type Placed = Omit<
  Entry,
  'kind' | 'id' | 'module' | 'sha256' | 'size' | 'fixes' | 'effectiveVersion' | 'patches' | 'at' | 'withdrawn' | 'below'
> & { readonly below: Entry | undefined };

function entry({ livepatch, file, at, reason }: Candidate, { below, ...placed }: Placed): Entry {
  const { kind, id, module, fixes, effectiveVersion, inputs } = livepatch;
  return {
    ...placed,
    kind,
    id,
    module,
    sha256: file.sha256,
    size: file.size,
    fixes,
    ...(effectiveVersion === undefined ? {} : { effectiveVersion }),
    patches: inputs.fixes,
    ...(below === undefined ? {} : { below: { package: below.package, version: below.version } }),
    at,
    ...(reason === undefined ? {} : { reason }),
    withdrawn: false,
  };
}

/** Two fixes whose ids become one name, or a fix called like a package that is there for another reason. */
function assertOwnName(kernel: DepotKernel, name: string, fix: FixSummary): void {
  const other = kernel.entries.find((one) => one.package === name)?.fixes[0];
  if (name !== cumulativeName(kernel.release) && (other === undefined || other.id === fix.id)) return;
  throw new DistroError('name-taken', `${name} is the package of ${other?.id ?? 'the cumulative livepatch'}`, {
    hint: `import the fix ${fix.id} under another id`,
  });
}

function nextRevision({ entries }: DepotKernel, name: string, position: number): number {
  return entries.filter((one) => one.package === name && one.position === position).length + 1;
}

function functionsOf({ objects }: Livepatch): EntryFunction[] {
  return objects.flatMap((object) =>
    object.functions.map(({ name, sympos }) => ({ object: object.name, name, sympos })),
  );
}

function overlapping(functions: readonly EntryFunction[], layers: readonly Entry[]): string[] {
  const covered = new Set(layers.flatMap((layer) => layer.functions.map(functionKey)));
  return [...new Set(functions.map(functionKey))].filter((key) => covered.has(key));
}
