import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareMembers } from './members.ts';

const BEFORE = 'struct s { struct dev *dev; int a; char list[4]; unsigned bit : 1; long end; };';

/** What the change of one piece of the record comes to. */
function changed(from: string, to: string): ReturnType<typeof compareMembers> {
  assert.ok(BEFORE.includes(from), from);
  return compareMembers(BEFORE, BEFORE.replace(from, to));
}

test('keeps the order with a member at the end', () => {
  assert.deepEqual(changed('long end;', 'long end; int more;'), { wrapped: [], followed: 'end', keepsOrder: true });
});

test('reports that a member in between changes what initializers without names fill', () => {
  assert.deepEqual(changed('int a;', 'int a; char b;'), { wrapped: [], followed: undefined, keepsOrder: false });
});

test('keeps the order with a pointer that gets a second name in a union', () => {
  const union = 'union { struct dev *dev; struct dev *dev_rcu; };';
  assert.deepEqual(changed('struct dev *dev;', union), { wrapped: ['dev'], followed: undefined, keepsOrder: true });
  // The other one is filled first now.
  const swapped = 'union { struct dev *dev_rcu; struct dev *dev; };';
  assert.deepEqual(changed('struct dev *dev;', swapped), { wrapped: ['dev'], followed: undefined, keepsOrder: false });
});

test('loses the order with a member that gets another name', () => {
  assert.deepEqual(changed('int a;', 'int b;'), { wrapped: [], followed: undefined, keepsOrder: false });
});

test('takes a member of another type as a further change, also in a list and in a bit-field', () => {
  assert.equal(changed('int a;', 'volatile int a;'), undefined);
  assert.equal(changed('int a;', 'int b, *a;'), undefined);
  assert.equal(changed('unsigned bit : 1;', 'unsigned bit : 2;'), undefined);
  assert.equal(changed('char list[4];', 'char list[4] __attribute__((aligned(4)));'), undefined);
});

test('does not judge arrays and bit-fields in a union of their own, attributes and another order', () => {
  assert.equal(changed('char list[4];', 'union { char list[4]; int word; };'), undefined);
  assert.equal(changed('unsigned bit : 1;', 'union { unsigned bit : 1; int word; };'), undefined);
  assert.equal(compareMembers(BEFORE, BEFORE.replace(/;$/, ' __attribute__((packed));')), undefined);
  assert.equal(changed('struct dev *dev; int a;', 'int a; struct dev *dev;'), undefined);
  assert.equal(changed('int a;', 'struct { int a; char b; };'), undefined);
  assert.equal(changed('int a;', 'int a; enum { ONE } one;'), undefined);
});

test('does not judge a removed last member, and one behind an anonymous type', () => {
  assert.equal(changed(' long end;', ''), undefined);
  const before = 'struct s { int a; union { int b; char c[4]; }; };';
  assert.equal(compareMembers(before, before.replace('}; };', '}; int more; };')), undefined);
});
