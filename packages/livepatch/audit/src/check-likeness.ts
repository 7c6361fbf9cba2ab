import { SHF_STRINGS, SHF_WRITE } from '@kmend/elf';
import { type Address, hex } from './address.ts';
import { gapsOf } from './align.ts';
import type { Replacement } from './check-functions.ts';
import type { Confirmed } from './check-twins.ts';
import type { Findings } from './finding.ts';
import { Judge, OWN_COPY, type ReferenceDifference } from './judge.ts';
import { type BothSides, bothSides, type Likened, nameOf } from './likeness.ts';
import type { Loaded } from './loaded.ts';
import { Neighbourhood } from './neighbourhood.ts';
import { baseName, type OwnData, type OwnFunction } from './own-code.ts';
import type { Simulation } from './simulation.ts';
import type { AuditedSource } from './source.ts';
import { ChangedWords } from './source-words.ts';
import { isUbsanRecord } from './ubsan.ts';
import type { World } from './world.ts';

export interface LikenessRequest {
  readonly replacements: readonly Replacement[];
  readonly source: AuditedSource;
  /** The C file that a replaced function is compiled from, as livepatch.json says; `undefined`: it says none. */
  readonly sourceOf: (replacement: Replacement) => string | undefined;
  readonly confirmed: Confirmed;
}

/**
 * Compares what each replaced function refers to, as shipped and as in the livepatch. What differs must come from the
 * lines that the fixes change; and a static variable must be the one that the shipped code uses.
 */
export async function checkLikeness(
  simulation: Simulation,
  { replacements, source, sourceOf, confirmed }: LikenessRequest,
  findings: Findings,
): Promise<string[]> {
  const { world, loaded, own } = simulation;
  const notChecked: string[] = [];
  const neighbourhood = new Neighbourhood(world);
  const words = ChangedWords.of(source);
  const replacing = new Map(replacements.map((one) => [one.newAddress, one]));
  const replaced = new Map(replacements.map((one) => [one.oldAddress, one]));
  // `gfs2_log_flush()` becomes a caller of `__gfs2_log_flush()`, a new function that has its text.
  const isMoved = (target: Address): boolean =>
    own.functions.some((one) => !replacing.has(one.address) && one.references.some((each) => each.target === target));
  for (const replacement of replacements) {
    const sides = bothSides(simulation, replacements, replacement);
    if (sides === undefined) {
      notChecked.push(`references of ${replacement.name}: the shipped code cannot be read as instructions`);
      continue;
    }
    checkStatics(sides, neighbourhood, simulation, findings);
    const differences = differencesOf(sides, world);
    if (differences.length === 0) continue;
    const unit = sourceOf(replacement);
    if (unit === undefined || words === undefined) {
      notChecked.push(`references of ${replacement.name} that differ: the fixes or the kernel's source are not here`);
      continue;
    }
    const judge = new Judge(words, unit, differences, {
      names: (one) => namesOf(one, simulation),
      text: (one) => textAt(one.reference.target, loaded),
    });
    const place = { object: replacement.object, symbol: replacement.name };
    const called = (one: Likened): string => nameOf(one.reference.target, simulation);
    for (const { before, after } of differences) {
      if (after !== undefined && confirmed.references.has(after.field)) continue;
      if (after !== undefined && isPlainNumberInShipped(after.reference.target, sides)) continue;
      if (before !== undefined && after !== undefined && isCopy(before, after, world, loaded)) continue;
      if (before === undefined || after === undefined) {
        // One side calls what the fix changes, the compiler has put it into the other side.
        const callee = calleeOf(after, replacing) ?? calleeOf(before, replaced);
        if (callee !== undefined && (await judge.calls(replacement.name, callee.name))) continue;
        if (after !== undefined && (await isNoLongerInlined(after, sides, simulation, judge))) continue;
        if (after !== undefined && isTakenOut(after, sides, simulation, replacing)) continue;
      }
      if (
        after !== undefined &&
        !(await judge.comesFromFix(after, before, loaded.at(after.reference.target) !== undefined))
      ) {
        const instead = before === undefined ? '' : `, where the shipped code has ${called(before)}`;
        findings.add(
          'reference-differs',
          `${after.where} refers to ${called(after)}${instead}; no line that the fixes change leads there`,
          place,
        );
      } else if (
        before !== undefined &&
        after === undefined &&
        !confirmed.functions.has(replacement.newAddress) &&
        !sides.own.some(({ key }) => key === before.key) &&
        !isMoved(before.reference.target) &&
        !isText(before, world) &&
        !isPlainNumberInOwn(before, sides) &&
        !isRecord(before, sides, world) &&
        !(await judge.goesWithFix(before, namesNear(before, world)))
      ) {
        findings.add(
          'reference-differs',
          `the shipped code refers to ${called(before)} at ${before.where}, the new code does not; no line that the fixes change removes that`,
          place,
        );
      }
    }
  }
  return notChecked;
}

/**
 * Code that the kernel runs before it has put the alternatives in (`static_cpu_has()`,
 * arch/x86/include/asm/cpufeature.h): `.altinstr_aux` lies behind the init code in vmlinux and has no names. The new
 * code has its own.
 */
function isPiece({ reference }: Likened, world: World): boolean {
  return world.locate(reference.target)?.names.includes('_einittext') === true;
}

/** Per-cpu data of vmlinux lies at the beginning (arch/x86/kernel/vmlinux.lds.S, PERCPU_VADDR(0, ...)). */
const LARGEST_PERCPU = 1 << 20;

/**
 * A place of per-cpu data is a small number. Nothing in shipped code distinguishes it from others: `bpf_bprintf_bufs`
 * in an addition in bpf_bprintf_prepare(). It counts as a reference if the shipped code of the function has exactly
 * this number.
 */
function isPlainNumberInShipped(target: Address, { parts }: BothSides): boolean {
  if (target < 0 || target >= LARGEST_PERCPU) return false;
  const number = Buffer.alloc(4);
  number.writeUInt32LE(Number(target));
  return parts.some(({ code }) => Buffer.from(code).includes(number));
}

/**
 * An apparent address in the shipped code is a number if the new code has it too, in a field that no
 * relocation fills: the mask of page flags in __free_pages_ok() lies where modules are loaded.
 */
export function isPlainNumberInOwn(
  { reference: { kind, target } }: Pick<Likened, 'reference'>,
  { functions }: { readonly functions: readonly Pick<OwnFunction, 'code' | 'instructions' | 'references'>[] },
): boolean {
  if (kind !== 'value') return false;
  return functions.some(({ code, instructions, references }) => {
    const view = new DataView(code.buffer, code.byteOffset, code.byteLength);
    return instructions.some(
      ({ immediate }) =>
        immediate?.size === 4 &&
        view.getInt32(immediate.at, true) === target &&
        !references.some(({ field }) => field.at === immediate.at),
    );
  });
}

/**
 * Whether a new call goes to a function that the shipped code calls nowhere and the source of the function names: its
 * code was inlined before. `ecc_point_is_zero()` in ecc_point_mult_shamir().
 */
export async function isNoLongerInlined(
  after: Likened,
  { replacement, shipped }: Pick<BothSides, 'replacement' | 'shipped'>,
  { world, loaded }: { readonly world: Pick<World, 'locate'>; readonly loaded: Pick<Loaded, 'at'> },
  judge: Pick<Judge, 'calls'>,
): Promise<boolean> {
  const { target } = after.reference;
  if (!isCall(after) || loaded.at(target) !== undefined || shipped.some(({ key }) => key === after.key)) return false;
  const located = world.locate(target);
  if (located?.start !== target || !located.isCode) return false;
  for (const name of located.names) if (await judge.calls(replacement.name, name)) return true;
  return false;
}

/** Functions of the livepatch by an address in them. */
interface FunctionsByPlace {
  functionAt(
    target: Address,
  ): { readonly function: Pick<OwnFunction, 'references'>; readonly offset: number } | undefined;
}

/**
 * Whether a new call goes to a function of the livepatch's own that has what the shipped code had here: the compiler
 * made two of one. `__do_sys_fspick()`, which was a part of __x64_sys_fspick().
 */
export function isTakenOut(
  after: Likened,
  { shipped, own: fresh }: Pick<BothSides, 'shipped' | 'own'>,
  { own }: { readonly own: FunctionsByPlace },
  replacing: ReadonlyMap<Address, Replacement>,
): boolean {
  const { target } = after.reference;
  const called = isCall(after) ? own.functionAt(target) : undefined;
  if (called === undefined || called.offset !== 0 || replacing.has(target)) return false;
  const lost = shipped.filter(({ key }) => !fresh.some((one) => one.key === key));
  return called.function.references.some((one) => lost.some(({ reference }) => reference.target === one.target));
}

function isCall({ reference: { kind } }: Likened): boolean {
  return kind === 'call' || kind === 'jump' || kind === 'branch';
}

/** The replaced function that a reference calls. */
function calleeOf(one: Likened | undefined, replacements: ReadonlyMap<Address, Replacement>): Replacement | undefined {
  return one !== undefined && isCall(one) ? replacements.get(one.reference.target) : undefined;
}

function isRecord({ field }: Likened, { parts }: BothSides, world: World): boolean {
  const namesAt = (address: Address): readonly string[] => world.locate(address)?.names ?? [];
  return parts.some((part) => {
    const at = part.references.find((one) => part.address + one.field.at === field)?.at;
    return at !== undefined && isUbsanRecord(part, at, namesAt);
  });
}

/** References that one side has more of than the other, in pairs where both differ in one place. */
function differencesOf({ shipped: all, own }: BothSides, world: World): ReferenceDifference[] {
  const shipped = all.filter((one) => !isPiece(one, world));
  const more = new Map<string, number>();
  for (const { key } of own) more.set(key, (more.get(key) ?? 0) + 1);
  for (const { key } of shipped) more.set(key, (more.get(key) ?? 0) - 1);
  const found: ReferenceDifference[] = [];
  for (const gap of gapsOf(
    shipped.map(({ key }) => key),
    own.map(({ key }) => key),
  )) {
    const isPaired = gap.before.length === gap.after.length;
    const gained = gap.after.map((index) => own[index]).filter((one) => one !== undefined);
    const lost = gap.before.map((index) => shipped[index]).filter((one) => one !== undefined);
    for (const [index, after] of gained.entries()) {
      const before = isPaired ? lost[index] : undefined;
      // One that only moved is no difference; nor is one that the compiler made two of.
      const isNew = !shipped.some(({ key }) => key === after.key);
      const isLess = before !== undefined && (more.get(before.key) ?? 0) < 0;
      if (!isNew && ((more.get(after.key) ?? 0) <= 0 || !isLess)) continue;
      found.push({ ...(isLess ? { before } : {}), after });
    }
    if (!isPaired) for (const before of lost) if ((more.get(before.key) ?? 0) < 0) found.push({ before });
  }
  return found;
}

function namesOf({ reference }: Likened, { world, loaded, own }: Simulation): readonly string[] {
  const place = loaded.at(reference.target);
  if (place !== undefined) {
    const held = own.functionAt(reference.target)?.function ?? own.dataAt(place.section, place.offset);
    // Sections have no name in any source.
    return held === undefined || held.name.startsWith('.') ? [] : [held.name];
  }
  return world.locate(reference.target)?.names ?? [];
}

/** Whether the livepatch has the same text or constant at the one place as the kernel has at the other. */
function isCopy(before: Likened, after: Likened, world: World, loaded: Loaded): boolean {
  const place = loaded.at(after.reference.target);
  if (place === undefined || (place.section.flags & SHF_WRITE) !== 0) return false;
  const memory = loaded.memory(place.section);
  const isText = (place.section.flags & SHF_STRINGS) !== 0;
  const end = isText ? memory.indexOf(0, place.offset) + 1 : place.offset + (place.section.entrySize || 8);
  const content = memory.subarray(place.offset, end);
  const shipped = world.read(before.reference.target, content.length);
  return shipped !== undefined && Buffer.compare(shipped, content) === 0;
}

/** Arrays are referred to by places before them too, `neigh_tables - 8`, where another variable may lie. */
function namesNear({ reference }: Likened, world: World): string[] {
  const located = world.locate(reference.target);
  if (located === undefined || located.isCode) return [];
  const places = Array.from({ length: 16 }, (_, index) => reference.target + (index - 8) * 8);
  return places.flatMap((place) => world.locate(place)?.names ?? []);
}

function textAt(target: Address, loaded: Loaded): string | undefined {
  const place = loaded.at(target);
  return place !== undefined && (place.section.flags & SHF_STRINGS) !== 0 ? loaded.text(target) : undefined;
}

/** Texts and nameless constants of vmlinux lie behind some other symbol. */
function isText({ reference }: Likened, world: World): boolean {
  const located = world.locate(reference.target);
  const isNamed = located?.names.some((name) => !name.startsWith('.L')) === true;
  return (
    located === undefined ||
    (!located.isCode && !located.isWritable && !(isNamed && reference.target === located.start))
  );
}

/** Variables and functions that only their own file can name. */
function checkStatics(
  sides: BothSides,
  neighbourhood: Neighbourhood,
  simulation: Simulation,
  findings: Findings,
): void {
  const { world, loaded, own } = simulation;
  const { replacement, shipped } = sides;
  const place = { object: replacement.object, symbol: replacement.name };
  const starts = new Set(shipped.map(({ reference }) => world.locate(reference.target)?.start));
  for (const one of sides.own) {
    const { target } = one.reference;
    const held = loaded.at(target);
    if (held !== undefined) {
      const variable = own.dataAt(held.section, held.offset);
      const constant = variable === undefined ? undefined : shippedConstant(one, variable, shipped, simulation);
      if (variable !== undefined && constant !== undefined) {
        findings.add(
          'variable-differs',
          `${one.where} takes the address of its own copy of ${variable.name}, which is lost with the livepatch; ` +
            `the shipped code takes that of ${nameOf(constant.reference.target, simulation)} at ${hex(constant.reference.target)}`,
          place,
        );
        continue;
      }
      const state =
        variable === undefined
          ? undefined
          : shipped.find(({ reference }) => isSameVariable(reference.target, variable.name, world));
      if (
        variable === undefined ||
        state === undefined ||
        (held.section.flags & SHF_WRITE) === 0 ||
        OWN_COPY.test(baseName(variable.name))
      )
        continue;
      findings.add(
        'variable-differs',
        `${one.where} uses its own copy of ${variable.name}; the shipped code uses ${nameOf(state.reference.target, simulation)} at ${hex(state.reference.target)}, whose state would be lost`,
        place,
      );
      continue;
    }
    const located = world.locate(target);
    if (located === undefined || !located.isLocal || starts.has(located.start) || located.names.length === 0) continue;
    const [name = ''] = located.names;
    const other = shipped.find(({ reference }) => {
      const there = world.locate(reference.target);
      return there !== undefined && there.start !== located.start && there.names.includes(name);
    });
    if (other !== undefined) {
      findings.add(
        'variable-differs',
        `${one.where} refers to the ${name} at ${hex(located.start)}; the shipped code refers to the one at ${hex(other.reference.target)}`,
        place,
      );
    } else if (!neighbourhood.refersTo(replacement, located.start)) {
      findings.add(
        'variable-differs',
        `${one.where} refers to ${nameOf(target, simulation)} at ${hex(located.start)}, a static symbol that no shipped function near ${replacement.name} refers to`,
        place,
      );
    }
  }
}

/**
 * The kernel's own constant of which the livepatch has a copy, and takes the copy's address: a live object that keeps
 * it outlives the livepatch (`empty_iops` of inode_init_always()). Not of texts and of initial values of variables on
 * the stack (`C.1.0`).
 */
function shippedConstant(
  { reference }: Likened,
  { name, section, start, size }: OwnData,
  shipped: readonly Likened[],
  { world, loaded }: Simulation,
): Likened | undefined {
  const base = baseName(name);
  if ((reference.kind !== 'address' && reference.kind !== 'value') || (section.flags & SHF_WRITE) !== 0)
    return undefined;
  if (OWN_COPY.test(base) || /^C(?:\.\d+)+$/.test(name)) return undefined;
  const content = loaded.memory(section).subarray(start, start + size);
  if (size > 1 && content.indexOf(0) === size - 1) return undefined;
  return shipped.find(({ reference: { target } }) => {
    const located = world.locate(target);
    if (located === undefined || located.isCode || located.isWritable || target !== located.start) return false;
    if (!located.names.some((other) => baseName(other) === base)) return false;
    const there = world.read(target, size);
    return there !== undefined && Buffer.compare(there, content) === 0;
  });
}

function isSameVariable(target: Address, name: string, world: World): boolean {
  const located = world.locate(target);
  return (
    located?.isWritable === true && !located.isCode && located.names.some((one) => baseName(one) === baseName(name))
  );
}
