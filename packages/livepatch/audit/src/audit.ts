import type { Run } from '@kmend/base';
import { limitedRun } from '@kmend/base/node';
import { readElf, SHN_LIVEPATCH } from '@kmend/elf';
import type { Livepatch } from '@kmend/protocol';
import { checkBalance } from './check-balance.ts';
import { checkBranchTracking } from './check-branch-tracking.ts';
import { checkCode } from './check-code.ts';
import { checkFunctions, type Replacement } from './check-functions.ts';
import { checkLikeness } from './check-likeness.ts';
import { checkRuntimeOperands } from './check-runtime-operands.ts';
import { checkTables } from './check-tables.ts';
import { checkTwinTables } from './check-twin-tables.ts';
import { type Beside, besides, checkTwins } from './check-twins.ts';
import { checkUnits } from './check-units.ts';
import { type Finding, Findings } from './finding.ts';
import { Loaded, parseKlpName, tableObject } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { checkReach } from './reach.ts';
import { readRegistration } from './registration.ts';
import { SameThing } from './same-thing.ts';
import { modinfo } from './shipped-module.ts';
import type { Simulation } from './simulation.ts';
import type { AuditedSource } from './source.ts';
import type { World } from './world.ts';

export interface AuditRequest {
  /** The module as stored on disk, with its signature. */
  readonly module: Uint8Array;
  readonly manifest: Livepatch;
  readonly source: AuditedSource;
  /** The distribution's fixed kernels that are here, by World.openImage(). */
  readonly fixed?: readonly World[] | undefined;
}

export interface AuditResult {
  readonly findings: readonly Finding[];
  /** Numbers of what was checked, for people. */
  readonly functions: number;
  readonly relocations: number;
  /** Checks that were left out because something that they need is missing. */
  readonly notChecked: readonly string[];
}

/**
 * Loads a finished livepatch in simulation and checks what it would do. Shares no code with the builder: what it knows
 * of livepatches is the kernel's (kernel/livepatch/core.c, kernel/module/main.c, arch/x86/kernel/module.c), what it
 * knows of this kernel are its shipped files.
 */
export async function audit(
  world: World,
  { module, manifest, source, fixed = [] }: AuditRequest,
  runner: Run = limitedRun,
): Promise<AuditResult> {
  const findings = new Findings();
  const notChecked: string[] = [];
  const file = readElf(module);
  const loaded = new Loaded(file);
  for (const name of objectsOf(loaded)) if (name !== 'vmlinux') await world.load(name);
  checkInfo(loaded, manifest, world, findings);
  loaded.relocate(world, findings);
  const own = new OwnCode(loaded, findings);
  const simulation: Simulation = { world, loaded, own };
  const patch = readRegistration(loaded, world, findings);
  let replacements: readonly Replacement[] = [];
  let beside: readonly Beside[] = [];
  if (fixed.length === 0) notChecked.push('references beside the fixed kernel’s: no image of it is in the store');
  if (patch !== undefined) {
    for (const { name } of patch.objects) if (name !== 'vmlinux') await world.load(name);
    replacements = checkFunctions(simulation, patch, manifest, findings);
    checkReach(loaded, own, patch, findings);
    const sourceOf = ({ object, name, sympos }: Replacement): string | undefined =>
      manifest.objects
        .find((one) => one.name === object)
        ?.functions.find((one) => one.name === name && one.sympos === sympos)?.source;
    beside = await besides(world, fixed, own, replacements);
    const same = new SameThing(world, loaded, own);
    const confirmed = checkTwins(beside, simulation, same, findings);
    checkBalance(beside, simulation, findings);
    checkTwinTables(beside, simulation, same, findings);
    const changes = { replacements, source, sourceOf, confirmed };
    notChecked.push(...(await checkLikeness(simulation, changes, findings)));
    notChecked.push(...(await checkUnits(runner, world, { manifest, replacements, source }, findings)));
  }
  checkCode(simulation, beside, findings);
  checkRuntimeOperands(simulation, replacements, findings);
  const objects = patch?.objects ?? [];
  const registered = new Set(objects.flatMap(({ functions }) => functions.map(({ heldAt }) => heldAt)));
  checkBranchTracking(simulation, registered, findings);
  checkTables(simulation, findings);
  let relocations = 0;
  for (const fields of loaded.fields.values()) relocations += fields.size;
  return { findings: findings.list, functions: replacements.length, relocations, notChecked };
}

/** Objects that tables and symbols name, whether they exist or not. */
function objectsOf(loaded: Loaded): Set<string> {
  const found = new Set<string>();
  for (const { name, place } of loaded.file.symbols) {
    const parsed = place === SHN_LIVEPATCH ? parseKlpName(name) : undefined;
    if (parsed !== undefined) found.add(parsed.object);
  }
  for (const { name } of loaded.file.livepatchRelocations) found.add(tableObject(name) ?? 'vmlinux');
  return found;
}

/** What the loader of modules reads in `.modinfo` (kernel/module/main.c, check_modinfo). */
function checkInfo(loaded: Loaded, manifest: Livepatch, world: World, findings: Findings): void {
  const one = (tag: string): string | undefined => modinfo(loaded.file, tag)[0];
  const refuse = (message: string): void => findings.add('load-refused', message);
  if (one('livepatch') !== 'Y') refuse('the module does not say that it is a livepatch');
  if (!/^GPL/.test(one('license') ?? '')) refuse('the module’s licence denies it exports for GPL modules');
  if (one('name') !== manifest.module)
    refuse(`the module is called ${one('name')}, livepatch.json says ${manifest.module}`);
  const { release } = world.kernel;
  if (!(one('vermagic') ?? '').startsWith(`${release} `))
    refuse(`the module is for ${one('vermagic')}, not for ${release}`);
  if ((one('depends') ?? '') !== '') refuse(`the module requires ${one('depends')} to be loaded before it`);
}
