import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import { MACHINE } from '@kmend/toolchain';
import { confined } from '../confine.ts';
import { decodeInstruction } from './instructions.ts';

/** One instruction to be shown. */
export interface Shown {
  /** Its bytes; what is behind them does not matter. */
  readonly bytes: Uint8Array;
  /** What it refers to, in words; for a branch it stands in the place of the address. */
  readonly target?: string;
}

/** More than a person reads; what is beyond it is `(not shown)`. */
const SHOWN_LIMIT = 20_000;

const SLOT = 16;
const NOP = 0x90;

/**
 * The text of single instructions in AT&T syntax, as objdump writes it: for people only. All of them in one run, so
 * that the cost does not depend on the object's size. Bytes that are no instruction are `(bad)`.
 */
export async function disassemble(run: Run, instructions: readonly Shown[], signal: AbortSignal): Promise<string[]> {
  const wanted = instructions.slice(0, SHOWN_LIMIT);
  if (wanted.length === 0) return [];
  // Slots apart, filled with NOPs: what one instruction is decoded to does not depend on its neighbours.
  const code = Buffer.alloc(wanted.length * SLOT, NOP);
  const lengths = wanted.map(({ bytes }, index) => {
    const length = decodeInstruction(bytes, 0)?.length;
    if (length !== undefined) code.set(bytes.subarray(0, length), index * SLOT);
    return length;
  });
  const directory = await mkdtemp(join(tmpdir(), 'kmend-disassemble-'));
  try {
    const path = join(directory, 'code');
    await writeFile(path, code);
    const args = ['-D', '-z', '-w', '-b', 'binary', '-m', 'i386:x86-64', '--no-show-raw-insn', path];
    const text = (
      await runOk(await confined(run, MACHINE, [path]), 'objdump', args, { signal, timeoutMs: 30_000 })
    ).toString('latin1');
    const lines = new Map<number, string>();
    for (const [, at = '', line = ''] of text.matchAll(/^\s+([0-9a-f]+):\t(.*)$/gm)) {
      lines.set(Number.parseInt(at, 16), line.replaceAll(/\s+/g, ' ').trim());
    }
    return instructions.map(({ target }, index) => {
      if (index >= SHOWN_LIMIT) return '(not shown)';
      const line = lines.get(index * SLOT);
      return lengths[index] === undefined || line === undefined ? '(bad)' : withTarget(line, target);
    });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

function withTarget(line: string, target: string | undefined): string {
  // objdump's own remark on a RIP-relative operand holds the address in the slots.
  const plain = line.replace(/ +# 0x[0-9a-f]+$/, '');
  if (target === undefined) return plain;
  const branch = /^((?:[a-z0-9,{}]+ )*(?:j[a-z]+|call|loop[a-z]*)(?:,p[nt])?) 0x[0-9a-f]+$/.exec(plain)?.[1];
  return branch === undefined ? `${plain} <${target}>` : `${branch} ${target}`;
}
