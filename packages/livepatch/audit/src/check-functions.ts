import type { Livepatch } from '@kmend/protocol';
import { type Address, hex } from './address.ts';
import type { Findings } from './finding.ts';
import type { OwnFunction } from './own-code.ts';
import type { RegisteredPatch } from './registration.ts';
import type { Simulation } from './simulation.ts';
import type { World } from './world.ts';

const ENDBR = [0xf3, 0x0f, 0x1e, 0xfa];

/** Where the tracer hooks into functions of the shipped kernel: `__mcount_loc` of vmlinux and of each module. */
export class TracedPlaces {
  readonly #world: World;
  readonly #known = new Map<string, ReadonlySet<Address>>();

  constructor(world: World) {
    this.#world = world;
  }

  of(object: string): ReadonlySet<Address> {
    const known = this.#known.get(object);
    if (known !== undefined) return known;
    const found = new Set<Address>();
    for (const { start, end } of this.#tables(object)) {
      const bytes = this.#world.read(start, end - start);
      if (bytes === undefined) continue;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let at = 0; at + 8 <= bytes.length; at += 8) found.add(Number(view.getBigInt64(at, true)));
    }
    this.#known.set(object, found);
    return found;
  }

  #tables(object: string): { readonly start: Address; readonly end: Address }[] {
    if (object === 'vmlinux') {
      const start = this.#world.symbol('__start_mcount_loc');
      const end = this.#world.symbol('__stop_mcount_loc');
      return start === undefined || end === undefined ? [] : [{ start, end }];
    }
    const module = this.#world.module(object);
    return ['__mcount_loc', '__patchable_function_entries'].flatMap((name) =>
      (module?.sections(name) ?? []).map(({ section, base }) => ({ start: base, end: base + section.size })),
    );
  }
}

/** A replaced function with its old and its new code. */
export interface Replacement {
  readonly object: string;
  readonly name: string;
  readonly sympos: number;
  readonly oldAddress: Address;
  readonly oldEnd: Address;
  readonly newAddress: Address;
}

/**
 * Every function that is replaced exists once, can be hooked into by the tracer, and its new code begins as traced
 * functions do; and what is registered is what livepatch.json says.
 */
export function checkFunctions(
  simulation: Simulation,
  patch: RegisteredPatch,
  manifest: Livepatch,
  findings: Findings,
): Replacement[] {
  const { world, own } = simulation;
  const traced = new TracedPlaces(world);
  const replacements: Replacement[] = [];
  for (const { name: object, functions } of patch.objects) {
    if (!world.has(object))
      findings.add('object-refused', `the kernel has no module ${object}: it is never patched`, { object });
    const olds = new Set<Address>();
    for (const { oldName, sympos, newFunction } of functions) {
      const place = { object, symbol: oldName };
      const bad = (message: string): void =>
        findings.add('function-unpatchable', `${oldName} of ${object}: ${message}`, place);
      const found = own.functionAt(newFunction);
      if (found === undefined || found.offset !== 0) {
        bad(`its new code at ${hex(newFunction)} is not the start of a function of the livepatch`);
        continue;
      }
      const lookup = world.find(object, oldName, sympos);
      if ('fault' in lookup) {
        bad(lookup.fault);
        continue;
      }
      const old = world.locate(lookup.address);
      if (old === undefined || !old.isCode || old.start !== lookup.address) {
        bad(`the kernel's ${oldName} is no function`);
        continue;
      }
      if (old.isInit) bad('the kernel drops the function after its start');
      if (olds.has(lookup.address)) bad('it is replaced twice');
      olds.add(lookup.address);
      // kernel/livepatch/patch.c: ftrace_location() of the function, which looks from its start to its end.
      const site = [lookup.address, lookup.address + ENDBR.length].find((address) => traced.of(object).has(address));
      if (site === undefined) bad('the tracer has no hook in it, so that the kernel cannot replace it');
      else if (site !== lookup.address && !hasEndbr(world.read(lookup.address, 4)))
        bad('its hook is not where it begins');
      checkBegin(found.function, simulation, bad);
      if (found.function.name !== oldName && stripped(found.function.name) !== stripped(oldName)) {
        bad(`its new code is ${found.function.name}`);
      }
      replacements.push({
        object,
        name: oldName,
        sympos,
        oldAddress: lookup.address,
        oldEnd: old.end,
        newAddress: newFunction,
      });
    }
  }
  checkManifest(patch, manifest, findings);
  return replacements;
}

function stripped(name: string): string {
  return name.replace(/\.\d+$/, '');
}

function hasEndbr(bytes: Uint8Array | undefined): boolean {
  return bytes !== undefined && ENDBR.every((byte, index) => bytes[index] === byte);
}

/**
 * The new function calls the tracer first, so that a later livepatch or a kprobe can hook into it as into the old one.
 */
function checkBegin(
  { code, address }: OwnFunction,
  { world, loaded }: Simulation,
  bad: (message: string) => void,
): void {
  const at = hasEndbr(code) ? ENDBR.length : 0;
  const fentry = world.exportedAt('__fentry__');
  const target = address + at + 5 + new DataView(code.buffer, code.byteOffset, code.byteLength).getInt32(at + 1, true);
  if (code[at] !== 0xe8 || target !== fentry) bad('its new code does not begin with the call of the tracer');
  const table = loaded.file.sections.find(({ name }) => name === '__mcount_loc');
  const entries =
    table === undefined
      ? []
      : Array.from({ length: table.size >> 3 }, (_, index) => loaded.pointer((loaded.base(table) ?? 0) + index * 8));
  if (!entries.includes(address + at)) bad('its new code is not in __mcount_loc');
}

function checkManifest(patch: RegisteredPatch, manifest: Livepatch, findings: Findings): void {
  const registered = patch.objects.flatMap(({ name, functions }) =>
    functions.map(({ oldName, sympos }) => `${name}: ${oldName},${sympos}`),
  );
  const told = manifest.objects.flatMap(({ name, functions }) =>
    functions.map((one) => `${name}: ${one.name},${one.sympos}`),
  );
  const missing = told.filter((one) => !registered.includes(one));
  const untold = registered.filter((one) => !told.includes(one));
  for (const one of missing)
    findings.add('manifest-differs', `livepatch.json says that it replaces ${one}; the module does not`);
  for (const one of untold)
    findings.add('manifest-differs', `the module replaces ${one}, which livepatch.json does not list`);
  if (patch.replace !== (manifest.kind === 'cumulative')) {
    findings.add(
      'manifest-differs',
      `the module ${patch.replace ? 'replaces' : 'does not replace'} earlier livepatches, and is called ${manifest.kind}`,
    );
  }
  for (const { name, callbacks } of patch.objects) {
    const told = (manifest.objects.find((object) => object.name === name)?.callbacks ?? []).flatMap(
      ({ phases }) => phases,
    );
    if ((callbacks.length === 0) !== (told.length === 0))
      findings.add(
        'manifest-differs',
        `callbacks of ${name}: the module has ${callbacks.length}, livepatch.json ${told.length}`,
      );
  }
}
