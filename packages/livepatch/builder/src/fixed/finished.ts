import { type ElfFile, readElf } from '@kmend/elf';
import type { ShippedImage } from '../byte-proof/image.ts';
import { isDifference, matchFunction } from '../byte-proof/match.ts';
import type { Atom } from '../object/atom.ts';
import { stem } from '../object/names.ts';
import { ObjectView } from '../object/view.ts';
import { misnamed, plainName } from './names.ts';
import { withTextsApart } from './texts.ts';

/** A replaced function of the finished module that has to be equal to the fixed kernel's: its unit's code is. */
export interface ExpectedFunction {
  readonly name: string;
  /** Of its unit. */
  readonly source: string;
  /** It and what the livepatch has of its own with it. */
  readonly parts: readonly string[];
  readonly image: ShippedImage;
  readonly places: ReadonlyMap<string, bigint>;
}

/**
 * Compares functions of a finished livepatch, as they are in the file, with the fixed kernel: what extraction and link
 * made of the unit's code. Knows nothing of how the module was made: symbols are taken by the names by which the kernel
 * will resolve them. Returns those that are not equal, with what differs.
 */
export function compareFinished(
  module: Uint8Array,
  expected: readonly ExpectedFunction[],
): { readonly name: string; readonly source: string; readonly why: string }[] {
  const view = new ObjectView(withTextsApart(withLivepatchRelocations(readElf(module))), new Map());
  const failures: { name: string; source: string; why: string }[] = [];
  const taken = new Map<Atom, string>();
  for (const { name, source, parts, image, places } of expected) {
    const why = parts
      .map((part) => {
        const address = places.get(stem(part));
        const atoms = view.functions.filter((atom) => stem(atom.symbol?.name ?? '') === stem(part));
        if (address === undefined) return `the place of ${part} is not certain`;
        if (atoms.length === 0) return `the module has no ${part}`;
        // Functions of one name, of several units or objects: each stands for one of them alone.
        const place = `${image.object} ${address}`;
        const free = atoms.filter((atom) => (taken.get(atom) ?? place) === place);
        const problems = free.map((atom) => problemOf(view, named(image), atom, address, places));
        const own = free[problems.indexOf(undefined)];
        if (own === undefined) return `${part}: ${problems[0] ?? 'the module has too few of that name'}`;
        taken.set(own, place);
        return undefined;
      })
      .find((problem) => problem !== undefined);
    if (why !== undefined) failures.push({ name, source, why });
  }
  return failures;
}

function problemOf(
  view: ObjectView,
  image: ShippedImage,
  atom: Atom,
  address: bigint,
  places: ReadonlyMap<string, bigint>,
): string | undefined {
  const outcome = matchFunction(view, image, atom, address, new Map());
  if (isDifference(outcome))
    return outcome.offset === undefined ? outcome.reason : `code differs at +0x${outcome.offset.toString(16)}`;
  return misnamed(view, image, atom, address, places);
}

/** Relocations that livepatch applies itself, in their places: as the module will be once it is applied. */
function withLivepatchRelocations(file: ElfFile): ElfFile {
  for (const { target, relocations } of file.livepatchRelocations)
    target.relocations = [...target.relocations, ...relocations].sort((a, b) => a.offset - b.offset);
  return file;
}

/**
 * Finds what the module names as livepatch does; names are settled by `misnamed`, which knows the compiler's numbers.
 */
function named(image: ShippedImage): ShippedImage {
  return { ...image, complete: false, named: (name) => image.named(plainName(name)) };
}
