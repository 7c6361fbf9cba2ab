import type { Edges } from '@kmend/base';
import { disassemble } from '../object/disassemble.ts';
import type { ByteDifference, Reason, Unit, UnitProof } from '../types.ts';

/**
 * Why functions that are to be replaced cannot be: they are not what was shipped. With the first differing instruction
 * of both sides.
 */
export async function proofReasons(
  edges: Pick<Edges, 'run' | 'signal'>,
  unit: Unit,
  proof: UnitProof,
  functions: readonly string[],
): Promise<Reason[]> {
  if (proof.equal.length === 0 && proof.different.every(({ reason }) => reason === 'not-in-kernel')) {
    const message = `${unit.object} has none of the functions of ${unit.source}: this kernel is not built from it`;
    return [{ code: 'unit-not-in-kernel', verdict: 'refused', message, source: unit.source }];
  }
  const equal = new Set(proof.equal);
  const unproven = functions.filter((name) => !equal.has(name));
  const differences = unproven.map((name) => proof.different.find((entry) => entry.function === name));
  const texts = await differenceTexts(edges, differences);
  return unproven.map((name, index) => ({
    code: differences[index]?.reason === 'bytes-differ' ? 'rebuild-differs' : 'function-not-found',
    verdict: 'refused',
    message: `${name} is not what ${unit.object} was shipped with: ${texts[index]}`,
    source: unit.source,
    symbol: name,
  }));
}

async function differenceTexts(
  { run, signal }: Pick<Edges, 'run' | 'signal'>,
  differences: readonly (ByteDifference | undefined)[],
): Promise<string[]> {
  const instructions = differences.flatMap((difference) => [difference?.shipped ?? [], difference?.built ?? []].flat());
  const lines = await disassemble(run, instructions, signal);
  const lineOf = new Map(instructions.map((instruction, index) => [instruction, lines[index] ?? '(bad)']));
  return differences.map((difference) => {
    switch (difference?.reason) {
      case 'bytes-differ': {
        const { offset = 0, shipped, built } = difference;
        const [there, here] = [shipped && lineOf.get(shipped), built && lineOf.get(built)];
        return `at +0x${offset.toString(16)} the kernel has "${there}", built here it is "${here}"`;
      }
      case 'ambiguous':
        return 'several functions of that name have these bytes, or none for certain';
      case 'not-in-kernel':
        return 'there is no function of that name';
      default:
        return 'it was not compared';
    }
  });
}
