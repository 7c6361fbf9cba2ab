import { SHF_STRINGS, SHF_WRITE } from '@kmend/elf';
import { type Address, addressOf } from './address.ts';
import type { Loaded } from './loaded.ts';
import { baseName, type OwnCode } from './own-code.ts';
import type { Located } from './shipped-module.ts';
import { endOfText, onlyLine, textAt, textIn } from './texts.ts';
import type { Twin } from './twin.ts';
import type { World } from './world.ts';

/** Names that every function has a variable of: their content distinguishes them. */
export const TEXTS = /^(?:__func__|__FUNCTION__|__PRETTY_FUNCTION__|__msg)$/;

/** Descriptors of `pr_debug()` (include/linux/dynamic_debug.h): a function may have several. */
const DEBUG_SITE = '__UNIQUE_ID_ddebug';

/**
 * Decides whether a place of the livepatch or of the running kernel is the same thing as one of a kernel that it is
 * compared with.
 */
export class SameThing {
  readonly #world: World;
  readonly #loaded: Loaded;
  readonly #own: OwnCode;
  /** What was the same before: one of several `__warned.3` is the same variable everywhere. */
  readonly #known = new Map<string, Address>();

  constructor(world: World, loaded: Loaded, own: OwnCode) {
    this.#world = world;
    this.#loaded = loaded;
    this.#own = own;
  }

  /** `undefined`: undecided. */
  is(target: Address, other: Address, twin: Twin): boolean | undefined {
    const inside = this.#own.functionAt(target);
    if (inside !== undefined && inside.offset > 0) {
      // Blocks that occur more than once, `gfs2_assert()`, can be paired with certainty only if nothing else
      // differs.
      const paired = twin.isWhole ? twin.address(target) : undefined;
      return paired === undefined ? undefined : paired === other;
    }
    const place = this.#loaded.at(target);
    return place === undefined ? this.#isSameSymbol(target, other, twin) : this.#isCopy(target, other, twin);
  }

  #isSameSymbol(target: Address, other: Address, { world }: Twin): boolean | undefined {
    if (world === this.#world) return target === other;
    const here = placesOf(target, this.#world);
    const there = placesOf(other, world);
    const same = here.find((one) => there.some((each) => each.distance === one.distance && each.name === one.name));
    if (same?.name === DEBUG_SITE && !this.#isSameSite(target - same.distance, other - same.distance, world))
      return false;
    if (same !== undefined) return this.#isOnlyOne(target - same.distance, other - same.distance, world);
    const located = this.#world.locate(target);
    const isNamed = located?.start === target && located.names.some((name) => !name.startsWith('.L'));
    if (isNamed || located?.isWritable !== false || located.isCode) return false;
    const bytes = this.#world.read(target, 16);
    const others = world.read(other, 16);
    return bytes !== undefined && others !== undefined && Buffer.compare(bytes, others) === 0 ? true : undefined;
  }

  #isCopy(target: Address, other: Address, { world }: Twin): boolean | undefined {
    const place = this.#loaded.at(target);
    if (place === undefined) return undefined;
    const { section, offset } = place;
    const memory = this.#loaded.memory(section);
    const isEqual = (end: number): boolean => {
      const bytes = memory.subarray(offset, end);
      const there = world.read(other, bytes.length);
      return there !== undefined && Buffer.compare(there, bytes) === 0;
    };
    const isSameText = (end: number): boolean | undefined =>
      isEqual(end) || onlyLine(textIn(memory.subarray(offset, end)), textAt(other, world));
    if ((section.flags & SHF_STRINGS) !== 0) return isSameText(memory.indexOf(0, offset) + 1);
    const code = this.#own.functionAt(target);
    const held = code === undefined ? this.#own.dataAt(section, offset) : code.function;
    if (held === undefined || held.name.startsWith('.')) {
      const size = Math.min(section.entrySize || 8, memory.length - offset);
      const isFilled = [...(this.#loaded.fields.get(section)?.keys() ?? [])].some(
        (at) => at >= offset && at < offset + size,
      );
      if (isFilled || size <= 0 || section.flags & SHF_WRITE) return undefined;
      if (isEqual(offset + size)) return true;
      // Since 6.15 the texts of modules lie among other constants (scripts/module.lds.S).
      const end = code === undefined ? endOfText(memory, offset) : undefined;
      return end !== undefined && isSameText(end);
    }
    const inside = code === undefined ? offset - held.start : code.offset;
    const name = thingName(held.name);
    if (TEXTS.test(name)) return isEqual(held.start + held.size);
    const isNamed = placesOf(other, world).some((one) => one.distance === inside && one.name === name);
    if (isNamed && name === DEBUG_SITE && !this.#isSameSite(target - inside, other - inside, world)) return false;
    if (isNamed) return this.#isOnlyOne(target - inside, other - inside, world);
    // Compilers choose numbers and names of constants of switches.
    return !!((section.flags & SHF_WRITE) === 0 && code === undefined && isEqual(held.start + held.size));
  }

  /** Whether two descriptors of `pr_debug()` have the same function and format. */
  #isSameSite(target: Address, other: Address, world: World): boolean {
    const members = ['function', 'format'].map((member) => this.#world.layouts.get('_ddebug')?.members.get(member));
    const others = ['function', 'format'].map((member) => world.layouts.get('_ddebug')?.members.get(member));
    return members.every((offset, index) => {
      const there = others[index];
      if (offset === undefined || there === undefined) return false;
      const text = this.#textBehind(target + offset, this.#world);
      return text !== undefined && text === textAt(pointerAt(other + there, world), world);
    });
  }

  /** The text that a pointer of the livepatch or of the running kernel leads to. */
  #textBehind(pointer: Address, world: World): string | undefined {
    const place = this.#loaded.at(pointer);
    const bytes = place === undefined ? undefined : this.#loaded.memory(place.section).subarray(place.offset);
    const target = bytes === undefined ? pointerAt(pointer, world) : addressIn(bytes);
    const own = target === undefined ? undefined : this.#loaded.at(target);
    return own === undefined ? textAt(target, world) : textIn(this.#loaded.memory(own.section).subarray(own.offset));
  }

  #isOnlyOne(start: Address, other: Address, { kernel: { buildId } }: World): boolean {
    const key = `${buildId} ${start}`;
    const known = this.#known.get(key) ?? other;
    this.#known.set(key, known);
    return known === other;
  }
}

function pointerAt(address: Address, world: World): Address | undefined {
  const bytes = world.read(address, 8);
  return bytes === undefined ? undefined : addressIn(bytes);
}

function addressIn(bytes: Uint8Array): Address | undefined {
  if (bytes.length < 8) return undefined;
  return addressOf(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
}

/** Without what the preprocessor counts up over a unit, which another header shifts: `__UNIQUE_ID_ddebug568`. */
export function thingName(name: string): string {
  return baseName(name).replace(/^(__UNIQUE_ID_\w*?)_?\d+$/, '$1');
}

/**
 * The symbols at or before an address and next behind it, and how far from them it is: arrays are referred to by places
 * before them too.
 */
function placesOf(address: Address, world: World): { readonly name: string; readonly distance: number }[] {
  const here = world.locate(address);
  const next = here === undefined || here.isCode ? undefined : world.locate(here.end);
  const of = (one: Located | undefined) =>
    (one?.names ?? []).map((name) => ({ name: thingName(name), distance: address - (one?.start ?? 0) }));
  return [...of(here), ...of(next)];
}
