import type { Run } from '@kmend/base';
import { disassemble, type Shown } from '../object/disassemble.ts';
import type { FoundDifference } from './difference.ts';
import type { Difference } from './model.ts';

/** Gives the differences in code the text of their instructions, in one run of the disassembler. */
export async function withInstructions(
  run: Run,
  found: readonly FoundDifference[],
  signal: AbortSignal,
): Promise<Difference[]> {
  const wanted: Shown[] = [];
  for (const difference of found) {
    if (difference.kind !== 'code') continue;
    wanted.push(...[difference.original ?? [], difference.patched ?? []].flat());
  }
  const texts = await disassemble(run, wanted, signal);
  const textOf = new Map(wanted.map((shown, index) => [shown, texts[index]]));
  return found.map((difference) => {
    if (difference.kind !== 'code') return difference;
    const original = difference.original && textOf.get(difference.original);
    const patched = difference.patched && textOf.get(difference.patched);
    return {
      kind: 'instruction',
      offset: difference.offset,
      ...(original !== undefined && { original }),
      ...(patched !== undefined && { patched }),
      ...(difference.part !== undefined && { part: difference.part }),
    };
  });
}
