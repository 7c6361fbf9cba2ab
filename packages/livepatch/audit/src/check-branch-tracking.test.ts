import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkBranchTracking, type TrackedKernel } from './check-branch-tracking.ts';
import { Findings } from './finding.ts';
import { Loaded } from './loaded.ts';
import { OwnCode } from './own-code.ts';
import { SmallModule, smallKernel } from './testing/module.ts';

const CALLED = -0x7e00_0000;
const SEALED = -0x7e00_0040;
const PLAIN = -0x7e00_0080;
const LIST = -0x7d00_0000;

const kernel: TrackedKernel = {
  hasBranchTracking: true,
  module: () => undefined,
  symbol: (name) => (name === '__ibt_endbr_seal' ? LIST : name === '__ibt_endbr_seal_end' ? LIST + 4 : undefined),
  read: (address) => {
    const bytes = Buffer.alloc(4);
    if (address === LIST) bytes.writeInt32LE(SEALED - LIST);
    else if (address !== PLAIN) bytes.set([0xf3, 0x0f, 0x1e, 0xfa]);
    return bytes;
  },
  locate: (start) => ({
    object: 'vmlinux',
    names: ['f'],
    start,
    end: start + 16,
    isCode: true,
    isWritable: false,
    isLocal: false,
    isInit: false,
  }),
};

/** Findings where new data hold the address of a new function without ENDBR. */
function holding(isRegistered: boolean): number {
  const module = new SmallModule();
  const { symbol } = module.function('plain');
  const data = module.data('table', 8);
  data.relocations.push({ offset: 0, type: 1, symbol, addend: 0n });
  const findings = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(smallKernel({}), findings);
  const registered = new Set(isRegistered ? [loaded.base(data) ?? 0] : []);
  checkBranchTracking({ loaded, own: new OwnCode(loaded, findings), world: kernel }, registered, findings);
  return findings.list.length;
}

/** Findings where new code keeps an address: `mov $address,%rdi`. */
function keeping(address: number, world: TrackedKernel = kernel): number {
  const module = new SmallModule();
  const { section, symbol } = module.function('keep');
  section.data = Uint8Array.from([0x48, 0xc7, 0xc7, 0, 0, 0, 0, 0xc3]);
  section.size = section.data.length;
  symbol.size = section.data.length;
  section.relocations.push({ offset: 3, type: 11, symbol: module.undefined('f'), addend: 0n });
  const findings = new Findings();
  const loaded = new Loaded(module.file);
  loaded.relocate(smallKernel({ 'vmlinux.f': address }), findings);
  checkBranchTracking({ loaded, own: new OwnCode(loaded, findings), world }, new Set(), findings);
  return findings.list.length;
}

test('requires a stored address to be that of a function that may be called indirectly', () => {
  assert.equal(keeping(CALLED), 0);
  assert.equal(keeping(SEALED), 1);
  assert.equal(keeping(PLAIN), 1);
  assert.equal(keeping(SEALED, { ...kernel, hasBranchTracking: false }), 0);
});

test('requires ENDBR of a replacing function, except in the address that livepatch itself holds', () => {
  assert.equal(holding(true), 0);
  assert.equal(holding(false), 1);
});
