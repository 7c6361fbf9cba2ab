import assert from 'node:assert/strict';
import { test } from 'node:test';
import { R_X86_64_PC32, R_X86_64_PLT32, readElf } from '@kmend/elf';
import type { KernelSymbol } from '@kmend/kernel';
import { compiled } from '../testing/gcc.ts';
import type { Resolution } from '../types.ts';
import { sealedReasons, trackedModule, trackedVmlinux } from './branch-tracking.ts';

const ENDBR = [0xf3, 0x0f, 0x1e, 0xfa];
const CALLED = 0xffff_ffff_8100_0000n;
const SEALED = CALLED + 16n;
const PLAIN = CALLED + 32n;
const VARIABLE = CALLED + 0x800n;
const LIST = CALLED + 0x1000n;

const symbol = (name: string, address: bigint, type = 't'): KernelSymbol => ({ name, address, type });
const SYMBOLS = [
  symbol('called', CALLED),
  symbol('sealed', SEALED),
  symbol('plain', PLAIN),
  // kallsyms of 7.2 gives variables the letter of code.
  symbol('table', VARIABLE, 'T'),
  symbol('twice', CALLED),
  symbol('twice', SEALED),
  symbol('__ibt_endbr_seal', LIST),
  symbol('__ibt_endbr_seal_end', LIST + 4n),
];
const list = Buffer.alloc(4);
list.writeInt32LE(Number(SEALED - LIST));
const vmlinux = trackedVmlinux(
  {
    read: (address) =>
      address === LIST ? list : Uint8Array.from(address === CALLED || address === SEALED ? ENDBR : [0, 0, 0, 0]),
    isCode: (address) => address < VARIABLE,
  },
  { named: (name) => SYMBOLS.filter((one) => one.name === name) },
);

test('allows a pointer to a function of vmlinux only if its ENDBR exists and stays', () => {
  assert.equal(vmlinux.isCallable('called', 0), true);
  assert.equal(vmlinux.isCallable('sealed', 0), false);
  assert.equal(vmlinux.isCallable('plain', 0), false);
  assert.deepEqual(
    [1, 2].map((sympos) => vmlinux.isCallable('twice', sympos)),
    [true, false],
  );
  for (const name of ['table', 'absent']) assert.equal(vmlinux.isCallable(name, 0), undefined);
});

test('reads a module’s list of overwritten ENDBRs from its section', async () => {
  const text = `
    int first(int a) { return a + 1; }
    int second(int a) { return a + 2; }
    int count = 1;
    asm(".pushsection .ibt_endbr_seal,\\"a\\"; .long second - .; .popsection");
  `;
  const module = trackedModule(readElf(await compiled(text, { flags: ['-fcf-protection=branch'] })));
  assert.deepEqual([module.isCallable('first', 0), module.isCallable('second', 0)], [true, false]);
  assert.deepEqual([module.isCallable('count', 0), module.isCallable('third', 0)], [undefined, undefined]);
  const without = trackedModule(readElf(await compiled(text, { flags: ['-fcf-protection=none'] })));
  assert.equal(without.isCallable('first', 0), false);
});

/** Functions whose address a text takes though it may not. */
async function taken(text: string): Promise<(string | undefined)[]> {
  const file = readElf(await compiled(`int called(int); int sealed(int); extern int table; ${text}`));
  // Calls of private functions in other sections are marked so.
  for (const { relocations } of file.sections)
    for (const relocation of relocations) if (relocation.type === R_X86_64_PLT32) relocation.type = R_X86_64_PC32;
  const resolutions = new Map<string, Resolution>();
  for (const name of ['called', 'sealed', 'table'])
    resolutions.set(name, { kind: 'klp', name, object: 'vmlinux', symbol: name, sympos: 0 });
  const reasons = await sealedReasons('a/unit.c', file, resolutions, async () => vmlinux);
  for (const { code, verdict } of reasons) assert.deepEqual([code, verdict], ['endbr-sealed', 'refused']);
  return reasons.map((reason) => reason.symbol);
}

test('refuses the address of an overwritten function in code and in data, and never a call', async () => {
  assert.deepEqual(await taken('int (*keep(void))(int) { return sealed; }'), ['sealed']);
  assert.deepEqual(await taken('int (*operations[])(int) = { called, sealed, sealed };'), ['sealed']);
  assert.deepEqual(await taken('int call(int a) { return sealed(a) + table; }'), []);
  assert.deepEqual(await taken('int tail(int a) { return sealed(a); } int *where(void) { return &table; }'), []);
  assert.deepEqual(await taken('int (*keep(void))(int) { return called; }'), []);
});
