import { readFile } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import type { Run } from '@kmend/base';
import type { Livepatch } from '@kmend/protocol';
import { type Address, hex } from './address.ts';
import { cIncluders } from './c-includes.ts';
import type { Replacement } from './check-functions.ts';
import type { Findings } from './finding.ts';
import { functionsAround } from './neighbourhood.ts';
import { baseName } from './own-code.ts';
import type { AuditedSource } from './source.ts';
import { changedFiles } from './source-words.ts';
import type { World } from './world.ts';

/** What of the shipped kernel it takes to find copies. */
export type CopySource = Pick<
  World,
  'kernel' | 'moduleFiles' | 'load' | 'module' | 'count' | 'find' | 'locate' | 'neighbours'
>;

export interface UnitsRequest {
  readonly manifest: Livepatch;
  readonly replacements: readonly Replacement[];
  readonly source: AuditedSource;
}

/** Modules of one folder that are looked into; no folder whose files are in several modules has more. */
const MODULES = 40;

/**
 * A changed file may be in the kernel more than once: as a unit of its own and in others that include it, or in two
 * modules. Where the shipped kernel has a function several times of which the livepatch replaces some, the unit of the
 * others must have been compared too.
 */
export async function checkUnits(
  run: Run,
  world: CopySource,
  { manifest, replacements, source }: UnitsRequest,
  findings: Findings,
): Promise<string[]> {
  const { patches, tree } = source;
  if (patches.length === 0 || tree === undefined)
    return ['other copies of the changed files: the fixes or the kernel’s source are not here'];
  const includers = await cIncluders(run, tree);
  for (const { path } of changedFiles(patches)) {
    if (!path.endsWith('.c')) continue;
    const including = includers.get(path) ?? new Set<string>();
    const holders = new Set([path, ...including]);
    const inSeveral = await isInSeveralModules(tree, path);
    if (including.size === 0 && !inSeveral) continue;
    const text = await readFile(join(tree, path), 'latin1').catch(() => '');
    const compared = (manifest.units ?? []).filter((unit) => holders.has(unit.source));
    const objects = await objectsNear(world, holders);
    for (const name of new Set(replacements.map((one) => one.name))) {
      if (!definition(baseName(name)).test(text)) continue;
      const replaced = replacements.filter((one) => one.name === name);
      const units = new Set(sourcesOf(manifest, name));
      // Another unit with the same text was compared, and was equal.
      if (compared.some((unit) => !units.has(`${unit.source} ${unit.object}`))) continue;
      for (const object of objects) {
        for (let position = 1; position <= world.count(object, name); position++) {
          const found = world.find(object, name, position);
          if (!('address' in found) || replaced.some((one) => one.oldAddress === found.address)) continue;
          if (!isCopyOf(text, world, object, found.address)) continue;
          const why =
            including.size > 0
              ? `${path} is also included by ${[...including].join(', ')}`
              : `${path} is part of several modules`;
          findings.add(
            'unit-uncovered',
            `${object} has another ${name} at ${hex(found.address)}, which the livepatch leaves as it is, and no unit of it was compared; ${why}`,
            { object, symbol: name },
          );
        }
      }
    }
  }
  return [];
}

/** Around a function of a file lie others of it; what has only the name does not. */
function isCopyOf(text: string, world: CopySource, object: string, address: Address): boolean {
  if (world.locate(address)?.isCode !== true) return false;
  const around = functionsAround(world, object, address, 10).filter(({ start }) => start !== address);
  const names = new Set(around.flatMap(({ start }) => world.locate(start)?.names ?? []).map(baseName));
  const known = [...names].filter((name) => definition(name).test(text));
  return known.length >= 2 || (known.length === 1 && names.size < 4);
}

function definition(name: string): RegExp {
  return new RegExp(`^[^\\n#/;]*\\b${name.replaceAll(/\W/g, '')}\\s*\\(`, 'm');
}

function sourcesOf(manifest: Livepatch, name: string): string[] {
  return manifest.objects.flatMap((object) =>
    object.functions.filter((one) => one.name === name).map((one) => `${one.source} ${object.name}`),
  );
}

/** vmlinux, and the modules that lie in the folders of the files. */
async function objectsNear(world: CopySource, files: ReadonlySet<string>): Promise<string[]> {
  const folders = new Set([...files].map((file) => dirname(file)));
  const near = [...world.moduleFiles]
    .filter(([, path]) => folders.has(dirname(relative(join(world.kernel.paths.modules, 'kernel'), path))))
    .map(([name]) => name)
    .slice(0, MODULES);
  for (const name of near) await world.load(name);
  return ['vmlinux', ...near];
}

/** Whether the folder's Makefile lists the object more than once. */
async function isInSeveralModules(tree: string, path: string): Promise<boolean> {
  const makefile = await readFile(join(tree, dirname(path), 'Makefile'), 'latin1').catch(() => '');
  const object = `${basename(path, '.c')}.o`.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return [...makefile.matchAll(new RegExp(`(?<![\\w./-])${object}(?![\\w.])`, 'g'))].length > 1;
}
