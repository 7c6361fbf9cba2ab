import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { checkAssembler } from './reach.ts';

const HEADER = `
#define SELECTOR 24
#define OFFSET (SELECTOR + 4)
#define UNRELATED 1
static inline int entered(void) { return SELECTOR; }
`;

/** What the check says of one assembler file that includes HEADER, changed. */
async function checked(t: TestContext, path: string, text: string, change: (text: string) => string): Promise<void> {
  const source = await mkdtemp(join(tmpdir(), 'kmend-assembler-'));
  t.after(() => rm(source, { recursive: true, force: true }));
  await mkdir(join(source, path, '..'), { recursive: true });
  await writeFile(join(source, path), text);
  assert.notEqual(change(HEADER), HEADER);
  const stock = new Map([['asm/head.h', HEADER]]);
  await checkAssembler({ source }, { stock, states: [new Map([['asm/head.h', change(HEADER)]])] }, [
    path,
    'kernel/a.c',
  ]);
}

const refused = {
  code: 'source-unsupported',
  message: /arch\/x86\/entry\/a\.S is assembler and uses \w+, which the fixes change/,
};

test('refuses a changed macro that the assembler code of the kernel uses', async (t) => {
  const change = (text: string): string => text.replace('24', '32');
  await assert.rejects(checked(t, 'arch/x86/entry/a.S', 'mov $SELECTOR, %eax\n', change), refused);
  // Through another macro of the header.
  await assert.rejects(checked(t, 'arch/x86/entry/a.S', 'mov $OFFSET, %eax\n', change), refused);
  // A macro that comes or goes: `#ifdef SELECTOR`.
  await assert.rejects(
    checked(t, 'arch/x86/entry/a.S', '#ifdef FRESH\n#endif\n', (text) => `${text}#define FRESH\n`),
    refused,
  );
  await assert.rejects(
    checked(t, 'arch/x86/entry/a.S', 'mov $UNRELATED, %eax\n', (text) => text.replace('#define UNRELATED 1', '')),
    refused,
  );
});

test('ignores assembler code that uses none of the changed macros, and that of other images', async (t) => {
  const change = (text: string): string => text.replace('24', '32');
  await checked(t, 'arch/x86/entry/a.S', 'mov $UNRELATED, %eax\n', change);
  await checked(t, 'arch/x86/boot/a.S', 'mov $SELECTOR, %eax\n', change);
  await checked(t, 'arch/x86/entry/a.S', 'call entered\n', (text) =>
    text.replace('return SELECTOR', 'return SELECTOR + 1'),
  );
});
