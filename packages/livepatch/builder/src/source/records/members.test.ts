import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareMembers } from './members.ts';

const BEFORE = 'struct s { struct dev *dev; int a; char list[4]; unsigned bit : 1; long end; };';

/** What the change of one piece of the record comes to. */
function changed(from: string, to: string): ReturnType<typeof compareMembers> {
  assert.ok(BEFORE.includes(from), from);
  return compareMembers(BEFORE, BEFORE.replace(from, to));
}

test('a member that comes at the end follows the last one and keeps the order', () => {
  assert.deepEqual(changed('long end;', 'long end; int more;'), { wrapped: [], followed: 'end', keepsOrder: true });
});

test('a member that comes in between changes what initializers without names fill', () => {
  assert.deepEqual(changed('int a;', 'int a; char b;'), { wrapped: [], followed: undefined, keepsOrder: false });
});

test('a pointer that gets a second name in a union keeps the order', () => {
  const union = 'union { struct dev *dev; struct dev *dev_rcu; };';
  assert.deepEqual(changed('struct dev *dev;', union), { wrapped: ['dev'], followed: undefined, keepsOrder: true });
  // The other one is filled first now.
  const swapped = 'union { struct dev *dev_rcu; struct dev *dev; };';
  assert.deepEqual(changed('struct dev *dev;', swapped), { wrapped: ['dev'], followed: undefined, keepsOrder: false });
});

test('a member that gets another name is no longer in the order', () => {
  assert.deepEqual(changed('int a;', 'int b;'), { wrapped: [], followed: undefined, keepsOrder: false });
});

test('a member of another type is more than that, also in a list and in a bit-field', () => {
  assert.equal(changed('int a;', 'volatile int a;'), undefined);
  assert.equal(changed('int a;', 'int b, *a;'), undefined);
  assert.equal(changed('unsigned bit : 1;', 'unsigned bit : 2;'), undefined);
  assert.equal(changed('char list[4];', 'char list[4] __attribute__((aligned(4)));'), undefined);
});

test('arrays and bit-fields in a union of their own, attributes and another order are not judged', () => {
  assert.equal(changed('char list[4];', 'union { char list[4]; int word; };'), undefined);
  assert.equal(changed('unsigned bit : 1;', 'union { unsigned bit : 1; int word; };'), undefined);
  assert.equal(compareMembers(BEFORE, BEFORE.replace(/;$/, ' __attribute__((packed));')), undefined);
  assert.equal(changed('struct dev *dev; int a;', 'int a; struct dev *dev;'), undefined);
  assert.equal(changed('int a;', 'struct { int a; char b; };'), undefined);
  assert.equal(changed('int a;', 'int a; enum { ONE } one;'), undefined);
});

test('the last member that goes, and one behind an anonymous type, are not judged', () => {
  assert.equal(changed(' long end;', ''), undefined);
  const before = 'struct s { int a; union { int b; char c[4]; }; };';
  assert.equal(compareMembers(before, before.replace('}; };', '}; int more; };')), undefined);
});
