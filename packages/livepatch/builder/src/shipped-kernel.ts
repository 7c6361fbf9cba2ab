import { readFile } from 'node:fs/promises';
import { readElf } from '@kmend/elf';
import {
  type Exports,
  type Kernel,
  KernelMemory,
  type KernelSymbol,
  moduleDepends,
  moduleFiles,
  moduleSymbols,
  parseConfig,
  parseSymvers,
  readModule,
  readSymbols,
  type StructLayout,
  type SymbolTable,
  structLayouts,
} from '@kmend/kernel';
import { moduleImage, type ShippedImage, vmlinuxImage } from './byte-proof/image.ts';
import { type TrackedObject, trackedModule, trackedVmlinux } from './link/branch-tracking.ts';
import { lateStructs } from './link/late.ts';
import { tableStructs } from './object/tables.ts';
import type { ObjectName, Unit } from './types.ts';

/** What a build knows of its kernel, read once. */
export interface BuildFacts {
  readonly layouts: ReadonlyMap<string, StructLayout>;
  readonly exports: Exports;
  /** Symbols of vmlinux. */
  readonly symbols: SymbolTable;
  readonly vmlinux: ShippedImage;
  readonly modules: Map<string, readonly KernelSymbol[]>;
  /** The functions of an object that may be called through pointers; `undefined` without CONFIG_X86_KERNEL_IBT. */
  tracked(object: ObjectName): Promise<TrackedObject | undefined>;
  /** Reads the symbols of every module that exports one of these names, and of the unit's own. */
  loadModules(names: readonly string[], unit: Unit): Promise<void>;
  /**
   * Modules that are there whenever code of an object runs: those that it depends on, directly or not. None for
   * vmlinux.
   */
  requires(object: ObjectName): Promise<ReadonlySet<ObjectName>>;
}

export async function loadFacts(kernel: Kernel): Promise<BuildFacts> {
  const [bytes, symbols, symvers, files, config] = await Promise.all([
    readFile(kernel.paths.vmlinux),
    readSymbols(kernel),
    readFile(kernel.paths.moduleSymvers, 'utf8'),
    moduleFiles(kernel),
    readFile(kernel.paths.config, 'utf8'),
  ]);
  const hasBranchTracking = parseConfig(config).get('CONFIG_X86_KERNEL_IBT') === 'y';
  const elf = readElf(bytes);
  const exports = parseSymvers(symvers);
  const modules = new Map<string, readonly KernelSymbol[]>();
  const depends = new Map<string, Promise<string[]>>();
  const dependsOf = (name: string): Promise<string[]> => {
    const path = files.get(name);
    const found =
      depends.get(name) ?? (path === undefined ? Promise.resolve([]) : readModule(path).then(moduleDepends));
    depends.set(name, found);
    return found;
  };
  const load = async (name: string): Promise<void> => {
    const path = files.get(name);
    if (path !== undefined && !modules.has(name)) modules.set(name, moduleSymbols(await readModule(path)));
  };
  const memory = new KernelMemory(elf);
  const tracked = new Map<ObjectName, Promise<TrackedObject | undefined>>();
  const trackedOf = async (object: ObjectName): Promise<TrackedObject | undefined> => {
    if (object === 'vmlinux') return trackedVmlinux(memory, symbols);
    const path = files.get(object);
    return path === undefined ? undefined : trackedModule(await readModule(path));
  };
  return {
    layouts: structLayouts(elf, [...tableStructs, ...lateStructs]),
    exports,
    symbols,
    vmlinux: vmlinuxImage(memory, symbols),
    modules,
    async tracked(object) {
      if (!hasBranchTracking) return undefined;
      const known = tracked.get(object) ?? trackedOf(object);
      tracked.set(object, known);
      return await known;
    },
    async loadModules(names, unit) {
      if (unit.object !== 'vmlinux') await load(unit.object);
      for (const name of names) {
        const object = exports.get(name)?.object;
        if (object !== undefined && object !== 'vmlinux') await load(object);
      }
    },
    async requires(object) {
      const found = new Set<string>();
      const waiting = [...(await dependsOf(object))];
      for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
        if (found.has(name)) continue;
        found.add(name);
        waiting.push(...(await dependsOf(name)));
      }
      return found;
    },
  };
}

export function moduleSymbolsOf(facts: BuildFacts): (name: string) => readonly KernelSymbol[] | undefined {
  return (name) => facts.modules.get(name);
}

export async function imageOf(facts: BuildFacts, unit: Unit): Promise<ShippedImage> {
  return unit.modulePath === undefined ? facts.vmlinux : moduleImage(unit.object, await readModule(unit.modulePath));
}
