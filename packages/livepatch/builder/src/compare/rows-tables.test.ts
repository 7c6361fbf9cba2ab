import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changeOf, extractOf, sectionNamed, summary, targetsOf } from '../testing/fixture.ts';

/**
 * Tables with an entry a place in code, of all functions of a unit: an entry belongs to its function, in comparing and
 * in extracting.
 */

/** Three functions with one entry each; the fix changes that of the one in the middle, and no byte of its code. */
function three(body: (number: number) => string): string {
  const one = (name: string, number: number): string =>
    `int ${name}(int *p) { ${body(number)} return *p; yes: __attribute__((unused)) return 1; no: __attribute__((unused)) return 2; }\n`;
  return `int state; int byte; void *operations[2];\n${one('above', 1)}${one('changed', 2)}${one('below', 3)}`;
}

const TABLES: readonly {
  readonly section: string;
  readonly size: number;
  readonly body: (number: number) => string;
  readonly edit: readonly [string, string];
}[] = [
  { section: '__bug_table', size: 12, body: (n) => `if (*p > 3) BUG_ENTRY(${n}, 1);`, edit: ['(2, 1)', '(2, 3)'] },
  { section: '__ex_table', size: 12, body: (n) => `EX_ENTRY(p, ${n});`, edit: ['(p, 2)', '(p, 7)'] },
  {
    section: '.altinstructions',
    size: 12,
    body: (n) => `ALTERNATIVE("nop; nop", "clac", ${n});`,
    edit: ['"clac", 2', '"clac", 8'],
  },
  {
    section: '.altinstr_replacement',
    size: 2,
    body: (n) => `ALTERNATIVE("nop; nop", "movb $${n}, %%al", 1);`,
    edit: ['$2,', '$9,'],
  },
  {
    section: '.parainstructions',
    size: 16,
    body: (n) => `PARAVIRT_CALL(&operations[1], ${n});`,
    edit: ['[1], 2)', '[1], 6)'],
  },
  {
    section: '.smp_locks',
    size: 4,
    body: (n) => `${n === 2 ? 'PLAIN_LOCKED_INC' : 'LOCKED_INC'}(state);`,
    edit: ['PLAIN_LOCKED_INC', 'LOCKED_INC'],
  },
  {
    section: '__jump_table',
    size: 16,
    body: () => `STATIC_BRANCH(&operations[0], yes);`,
    edit: ['int changed(int *p) { STATIC_BRANCH(&operations[0]', 'int changed(int *p) { STATIC_BRANCH(&operations[1]'],
  },
];

for (const { section, size, body, edit } of TABLES) {
  test(`${section}: reports the function of a changed entry, and includes it with that function alone`, async () => {
    const before = three(body);
    const after = before.replace(...edit);
    assert.notEqual(after, before);
    const { change, file } = await extractOf(before, after);
    assert.deepEqual(summary(change), [['changed'], [], []]);
    const table = sectionNamed(file, section);
    assert.equal(table?.size, size);
    // A replacement has no address in it; it is found through its entry.
    const entry = section === '.altinstr_replacement' ? sectionNamed(file, '.altinstructions') : table;
    assert.equal(targetsOf(entry)[0], '.text.changed');
    assert.deepEqual(summary(await changeOf(before, before)), [[], [], []]);
  });
}

test('.altinstr_aux: includes code out of line with the function that jumps there', async () => {
  const before = three((n) => `CPU_HAS(${n}, &byte, yes, no);`);
  const { change, file } = await extractOf(before, before.replace('(2, &byte', '(8, &byte'));
  assert.deepEqual(summary(change), [['changed'], [], []]);
  const piece = sectionNamed(file, '.altinstr_aux');
  assert.ok(piece !== undefined);
  // testb $8, byte; jnz yes; jmp no
  assert.deepEqual([piece.data[0], piece.data[piece.data.indexOf(8)]], [0xf6, 8]);
  assert.deepEqual(targetsOf(piece), ['byte!', '.text.changed', '.text.changed']);
});

test('.discard.*: keeps annotations for objtool with their function, and reports no difference', async () => {
  const before = three((n) => `if (*p > ${n}) { REACHABLE(); state++; }`);
  const { change, file } = await extractOf(before, before.replace('*p > 2', '*p > 5'));
  assert.deepEqual(summary(change), [['changed'], [], []]);
  const notes = sectionNamed(file, '.discard.reachable');
  assert.deepEqual([notes?.size, targetsOf(notes)], [4, ['.text.changed']]);
  const noted = three((n) => (n === 2 ? 'REACHABLE();' : ''));
  assert.deepEqual(summary(await changeOf(noted, noted.replace('REACHABLE();', ''))), [[], [], []]);
});

test('__mcount_loc: makes one entry for each traced function of the livepatch', async () => {
  const { file } = await extractOf(
    three(() => ''),
    three((n) => (n === 2 ? 'state++;' : '')),
  );
  const calls = sectionNamed(file, '__mcount_loc');
  assert.deepEqual([calls?.size, targetsOf(calls)], [8, ['.text.changed']]);
});

test("drops objtool's products, which it makes again, and reports no difference", async () => {
  const products = [
    '.orc_unwind',
    '.orc_unwind_ip',
    '.orc_header',
    '.return_sites',
    '.retpoline_sites',
    '.call_sites',
    '.ibt_endbr_seal',
    '.static_call_sites',
  ];
  const noted = (value: number): string =>
    `asm volatile("9:\\n${products.map((name) => `.pushsection ${name},\\"a\\"\\n.long 9b - ., ${value}\\n.popsection\\n`).join('')}");`.replaceAll(
      '\n',
      '',
    );
  const before = three((n) => noted(n));
  assert.deepEqual(summary(await changeOf(before, before.replaceAll('9b - ., 2', '9b - ., 4'))), [[], [], []]);
  const { file } = await extractOf(before, before.replace('int changed(int *p) {', 'int changed(int *p) { state++;'));
  const kept = file.sections.map(({ name }) => name).filter((name) => products.includes(name));
  assert.deepEqual(kept, []);
});
