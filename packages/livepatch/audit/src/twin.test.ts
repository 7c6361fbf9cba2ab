import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Findings } from './finding.ts';
import { decode } from './instructions.ts';
import { Loaded } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { SmallModule, smallKernel } from './testing/module.ts';
import { twinOf } from './twin.ts';
import type { World } from './world.ts';

const KFREE = -0x7e00_0000;
const THERE = -0x7d00_0000;
const world = {} as World;

/** A function of so many calls beside a shipped one of the given bytes. */
function beside(calls: number, code: readonly number[]) {
  const module = new SmallModule();
  const { section } = module.function('f', calls);
  const kfree = module.undefined('kfree');
  for (let call = 0; call < calls; call++) section.relocations.push(SmallModule.call(call, kfree));
  const findings = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(smallKernel({ 'vmlinux.kfree': KFREE }), findings);
  const [own] = new OwnCode(loaded, findings).functions;
  assert.ok(own !== undefined);
  const bytes = Uint8Array.from(code);
  const part = { address: THERE, code: bytes, instructions: decode(bytes) ?? [], references: [] };
  return { own, twin: twinOf(world, 'vmlinux', [own], [part]) };
}

const CALL = [0xe8, 0x10, 0, 0, 0];
const RET = [0xc3];
const PADDING = [0xcc, 0xcc];

test('pairs instructions that differ only in what they refer to', () => {
  const { own, twin } = beside(2, [...CALL, ...CALL, ...RET, ...PADDING]);
  assert.equal(twin?.isWhole, true);
  const targets = own.references.map((reference) => twin.reference(own, reference)?.target);
  assert.deepEqual(targets, [THERE + 0x15, THERE + 0x1a]);
  assert.equal(twin.address(own.address + 10), THERE + 10);
});

test('is not whole if the other function has more or other instructions', () => {
  const many = Array.from({ length: 20 }, () => CALL).flat();
  assert.equal(beside(21, [...many, 0x50, ...CALL, ...RET]).twin?.isWhole, false);
  assert.equal(beside(20, [...many, 0x50, ...RET]).twin?.isWhole, false);
  assert.equal(beside(20, [...many, ...RET]).twin?.isWhole, true);
});

test('draws no conclusion if too little is equal', () => {
  assert.equal(beside(3, [0x50, 0x51, ...CALL, 0x52, 0x53, 0x58, 0x59]).twin, undefined);
});
