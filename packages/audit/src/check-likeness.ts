import { SHF_STRINGS, SHF_WRITE } from '@kmend/elf';
import { type Address, hex } from './address.ts';
import { gapsOf } from './align.ts';
import type { AuditedSource } from './audit.ts';
import type { Replacement } from './check-functions.ts';
import type { Findings } from './finding.ts';
import { type BothSides, bothSides, type Likened, nameOf } from './likeness.ts';
import type { Loaded } from './loaded.ts';
import { Neighbourhood } from './neighbourhood.ts';
import { baseName, type OwnCode } from './own-code.ts';
import { ChangedWords } from './source-words.ts';
import type { World } from './world.ts';

/** What compilers call by themselves. */
const COMPILER =
  /^(?:__fentry__|__stack_chk_fail|__x86_\w*thunk\w*|mem(?:cpy|set|move|cmp)|__mem(?:cpy|set|move)|str(?:len|cmp|ncmp)|__ubsan_\w+|__fortify_\w+|fortify_panic|__sanitizer_\w+|__SCT__.*|copy_overflow|__(?:read|write)_overflow\w*)$/;
/** Each copy is its own: once-flags, lock classes, names of functions, messages, records of debugging. */
const OWN_COPY =
  /^(?:__key|__warned|__already_done|__func__|__FUNCTION__|__PRETTY_FUNCTION__|__msg|_rs|_entry|_entry_ptr|CSWTCH|descriptor|__UNIQUE_ID_.*|once|___done|___once_key|__print_once|__section_name)$/;

/**
 * Compares what each replaced function refers to, as shipped and as in the livepatch. What differs must come from the lines that the fixes
 * change; and a static variable must be the one that the shipped code uses.
 */
export async function checkLikeness(
  world: World,
  loaded: Loaded,
  own: OwnCode,
  replacements: readonly Replacement[],
  sourceOf: (replacement: Replacement) => string | undefined,
  source: AuditedSource,
  findings: Findings,
): Promise<string[]> {
  const notChecked: string[] = [];
  const neighbourhood = new Neighbourhood(world);
  const words = ChangedWords.of(source);
  for (const replacement of replacements) {
    const sides = bothSides(world, loaded, own, replacements, replacement);
    if (sides === undefined) {
      notChecked.push(`references of ${replacement.name}: the shipped code cannot be read as instructions`);
      continue;
    }
    checkStatics(sides, neighbourhood, world, loaded, own, findings);
    const differences = differencesOf(sides);
    if (differences.length === 0) continue;
    const unit = sourceOf(replacement);
    if (unit === undefined || words === undefined) {
      notChecked.push(`references of ${replacement.name} that differ: the fixes or the kernel's source are not here`);
      continue;
    }
    const names = (one: Likened): string[] => namesOf(one, world, loaded, own).map(baseName);
    const isPlain = (one: Likened): boolean => {
      const text = textAt(one.reference.target, loaded);
      if (text !== undefined) return words.texts.some((part) => text.includes(unescaped(part)));
      const called = namesOf(one, world, loaded, own);
      return (
        called.length === 0 ||
        called.some((name) => COMPILER.test(name) || OWN_COPY.test(baseName(name)) || words.has(baseName(name)))
      );
    };
    const gone = differences.flatMap(({ before }) => (before === undefined ? [] : names(before)));
    for (const { before, after } of differences) {
      if (after === undefined || isPlain(after)) continue;
      if (before !== undefined && isCopy(before, after, world, loaded)) continue;
      const closure = await words.closure(unit, gone);
      if (names(after).some((name) => closure.has(name))) continue;
      // What was inlined and is called now.
      const outlined = (await Promise.all(names(after).map((name) => words.bodies(unit, name)))).some((bodies) =>
        gone.some((name) => bodies.has(name)),
      );
      if (outlined) continue;
      const what = nameOf(after.reference.target, world, loaded, own);
      const instead =
        before === undefined
          ? ''
          : `, where the shipped code has ${nameOf(before.reference.target, world, loaded, own)}`;
      findings.add(
        'reference-differs',
        `${after.where} refers to ${what}${instead}; no line that the fixes change leads there`,
        { object: replacement.object, symbol: replacement.name },
      );
    }
  }
  return notChecked;
}

interface DifferenceOfReferences {
  readonly before?: Likened;
  readonly after?: Likened;
}

/** References that one side has more of than the other, in pairs where both differ in one place. */
function differencesOf({ shipped, own }: BothSides): DifferenceOfReferences[] {
  const more = new Map<string, number>();
  for (const { key } of own) more.set(key, (more.get(key) ?? 0) + 1);
  for (const { key } of shipped) more.set(key, (more.get(key) ?? 0) - 1);
  const found: DifferenceOfReferences[] = [];
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
      if (!isNew && ((more.get(after.key) ?? 0) <= 0 || before === undefined)) continue;
      found.push({ ...(before === undefined ? {} : { before }), after });
    }
    if (!isPaired) for (const before of lost) if ((more.get(before.key) ?? 0) < 0) found.push({ before });
  }
  return found;
}

function namesOf({ reference }: Likened, world: World, loaded: Loaded, own: OwnCode): readonly string[] {
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

function textAt(target: Address, loaded: Loaded): string | undefined {
  const place = loaded.at(target);
  return place !== undefined && (place.section.flags & SHF_STRINGS) !== 0 ? loaded.text(target) : undefined;
}

function unescaped(text: string): string {
  return text
    .replaceAll(/\\n/g, '\n')
    .replaceAll(/\\t/g, '\t')
    .replaceAll(/\\(["\\])/g, '$1');
}

/** Variables and functions that only their own file can name. */
function checkStatics(
  sides: BothSides,
  neighbourhood: Neighbourhood,
  world: World,
  loaded: Loaded,
  own: OwnCode,
  findings: Findings,
): void {
  const { replacement, shipped } = sides;
  const place = { object: replacement.object, symbol: replacement.name };
  const starts = new Set(shipped.map(({ reference }) => world.locate(reference.target)?.start));
  for (const one of sides.own) {
    const { target } = one.reference;
    const held = loaded.at(target);
    if (held !== undefined) {
      const variable = own.dataAt(held.section, held.offset);
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
        `${one.where} uses its own copy of ${variable.name}; the shipped code uses ${nameOf(state.reference.target, world, loaded, own)} at ${hex(state.reference.target)}, whose state would be lost`,
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
        `${one.where} refers to ${nameOf(target, world, loaded, own)} at ${hex(located.start)}, a static one that no shipped function near ${replacement.name} refers to`,
        place,
      );
    }
  }
}

function isSameVariable(target: Address, name: string, world: World): boolean {
  const located = world.locate(target);
  return (
    located?.isWritable === true && !located.isCode && located.names.some((one) => baseName(one) === baseName(name))
  );
}
