import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compiled } from '../../testing/gcc.ts';
import { laidOutAlike, probeText } from './layout.ts';
import { compareMembers } from './members.ts';

/** Whether nothing moves in a record; `undefined` where its text says already that it is not to be judged. */
async function isUnmoved(before: string, after: string, more = ''): Promise<boolean | undefined> {
  const change = compareMembers(`struct s { ${before} };`, `struct s { ${after} };`);
  if (change === undefined) return undefined;
  const [old, now] = await Promise.all(
    [before, after].map((body) =>
      compiled(`${more}struct s { ${body} };\n${probeText(['struct s'])}`, { flags: ['-g'] }),
    ),
  );
  assert.ok(old !== undefined && now !== undefined);
  return laidOutAlike(old, now, [{ name: 'struct s', change }]).has(0);
}

test('accepts a member in padding, in between and at the end, as moving nothing', async () => {
  assert.equal(await isUnmoved('char a; int b; char c;', 'char a; char fresh; int b; char c;'), true);
  assert.equal(await isUnmoved('int b; char c;', 'int b; char c; char fresh;'), true);
});

test('accepts a second name in a union as moving nothing', async () => {
  assert.equal(await isUnmoved('void *a; int b;', 'union { void *a; const void *rcu; }; int b;'), true);
});

test('refuses a member that moves others, or makes the whole larger or more aligned', async () => {
  assert.equal(await isUnmoved('char a; int b; char c;', 'char a; int fresh; int b; char c;'), false);
  assert.equal(await isUnmoved('int b;', 'int b; int fresh;'), false);
  assert.equal(await isUnmoved('char a[7]; char b;', 'char a[7]; union { char b; long fresh; };'), false);
  // The size stays, and so do the places: an outer struct would still be laid out in another way.
  const packed = 'typedef short loose __attribute__((aligned(1))); typedef short strict;\n';
  assert.equal(await isUnmoved('char a[2]; loose b;', 'char a[2]; union { loose b; strict fresh; };', packed), false);
});

test('counts a member that an old unit may write with a bit-field beside it as moved', async () => {
  assert.equal(
    await isUnmoved('long a; unsigned bit : 1; int b;', 'long a; unsigned bit : 1; char fresh; int b;'),
    false,
  );
  assert.equal(await isUnmoved('unsigned bit : 1; int b;', 'unsigned bit : 1; unsigned fresh : 1; int b;'), false);
  // Far from it.
  const before = 'unsigned bit : 1; long a[3]; char c; int b;';
  assert.equal(await isUnmoved(before, before.replace('char c;', 'char c; char fresh;')), true);
});

test('counts an array that is no longer at the end as moved', async () => {
  assert.equal(await isUnmoved('int a; char list[2];', 'int a; char list[2]; char fresh;'), false);
  const inner = 'struct inner { char list[2]; };\n';
  assert.equal(await isUnmoved('int a; struct inner b;', 'int a; struct inner b; char fresh;', inner), false);
});

test('counts a struct in a union of its own as moved', async () => {
  const inner = 'struct inner { int list[2]; };\n';
  assert.equal(await isUnmoved('struct inner a; int b;', 'union { struct inner a; long c; }; int b;', inner), false);
});

test('shows nothing for objects without debug information', async () => {
  const text = `struct s { char a; int b; };\n${probeText(['struct s'])}`;
  const object = await compiled(text);
  const change = { wrapped: [], followed: undefined, keepsOrder: true };
  assert.equal(laidOutAlike(object, object, [{ name: 'struct s', change }]).size, 0);
});
