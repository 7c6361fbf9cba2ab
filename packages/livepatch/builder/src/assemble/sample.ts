import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, errorText } from '@kmend/base';
import { moduleFiles, partsDiffer } from '@kmend/kernel';
import { proofReasons } from '../byte-proof/show.ts';
import { BuilderError } from '../error.ts';
import { markedText } from '../source/marked.ts';
import { configuredModules, linkedSources } from '../tree/built.ts';
import type { LinkedObject } from '../tree/lists.ts';
import { findUnits, type KnownUnit } from '../tree/unit.ts';
import { UnitCompiler } from './compiler.ts';
import { proveOriginal } from './proving.ts';
import type { UnitContext } from './request.ts';

/**
 * Files that every kernel with livepatches is built from. Together they show sizes and layouts of what most options
 * change: tasks, memory, file systems, modules.
 */
const ALWAYS = ['kernel/fork.c', 'kernel/module/main.c', 'kernel/livepatch/core.c', 'mm/page_alloc.c', 'fs/namei.c'];
/** And the first files of so many modules. */
const MODULES = 2;

/** Compiles a sample of a kernel's files as they are, and proves each. See `Builder.proveSample`. */
export async function proveSample(context: UnitContext, scratch: string): Promise<void> {
  const { edges, tree } = context;
  await checkModules(context);
  const linked = await linkedSources(edges, tree);
  const sources = [...ALWAYS.filter((path) => linked.has(path)), ...(await filesOfModules(context, linked))];
  for (const [source, units] of await findUnits(edges, tree, sources)) {
    if (units instanceof BuilderError) throw notProven(context, source, units.message, units);
    for (const unit of units) await proveUnit(context, unit, scratch);
  }
}

/** The first file of each of the first modules. */
async function filesOfModules(
  { tree }: UnitContext,
  linked: ReadonlyMap<string, readonly LinkedObject[]>,
): Promise<readonly string[]> {
  const found = new Map<string, string>();
  for (const [source, objects] of linked) {
    const [first] = objects.filter(({ object }) => object !== 'vmlinux' && !found.has(object));
    if (first === undefined) continue;
    // kernel/configs.c takes in what only a build of the whole kernel makes.
    if (/\.incbin/.test(await readFile(join(tree.source, source), 'latin1'))) continue;
    found.set(first.object, source);
    if (found.size === MODULES) break;
  }
  return [...found.values()];
}

/** The modules that the configuration makes are those that are there. */
async function checkModules({ edges, tree }: UnitContext): Promise<void> {
  const made = await configuredModules(edges, tree);
  const there = await moduleFiles(tree.kernel);
  const extra = [...there.keys()].filter((name) => !made.has(name));
  const missing = [...made].filter((name) => !there.has(name));
  const shown = (names: readonly string[]): string => names.slice(0, 4).join(', ');
  if (extra.length > 0) throw partsDiffer('config', 'the modules', `the config does not make ${shown(extra)}`);
  if (missing.length > 0)
    throw partsDiffer('config', 'the modules', `the config makes ${shown(missing)}, which modules.order does not have`);
}

async function proveUnit(context: UnitContext, unit: KnownUnit, scratch: string): Promise<void> {
  const { edges, tree } = context;
  edges.progress.step(`prove ${unit.source}`);
  const text = await readFile(join(tree.source, unit.source), 'latin1');
  const stock = await markedText(edges, unit.spelling, text, text);
  const state = { text: stock, headers: new Map<string, string>() };
  const compiler = new UnitCompiler(context, { unit, stock, base: state, patched: state, below: [], reached: false });
  const folder = join(scratch, unit.source.replaceAll('/', '-'));
  await mkdir(folder, { recursive: true });
  const { proof } = await proveOriginal(context, unit, compiler, folder).catch((error: unknown) => {
    // There is no patch: the tree itself does not fit its configuration.
    if (errorCode(error) !== 'patch-does-not-compile') throw error;
    throw notProven(context, unit.source, errorText(error), error);
  });
  const different = proof.different.filter(({ reason }) => reason === 'bytes-differ');
  if (different.length === 0 && proof.equal.length > 0) return;
  const reasons = await proofReasons(
    edges,
    unit,
    proof,
    different.map((entry) => entry.function),
  );
  const all = proof.equal.length + proof.different.length;
  const first = reasons[0]?.message ?? 'none of its functions is in the kernel';
  throw notProven(context, unit.source, `${proof.equal.length} of ${all} functions are equal; ${first}`);
}

function notProven({ tree }: UnitContext, source: string, why: string, cause?: unknown): BuilderError {
  const { release } = tree.kernel;
  return new BuilderError('kernel-not-proven', `${source}, compiled, is not what ${release} has: ${why}`, {
    cause,
    hint: 'source, config, and compiler (with its flags) must be those that the kernel was built with',
  });
}
