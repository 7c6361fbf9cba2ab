import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ExportedSymbol, KernelSymbol } from '@kmend/kernel';
import type { ShippedImage } from '../byte-proof/image.ts';
import { objectOf } from '../testing/gcc.ts';
import type { ProvenAddress, UnitProof } from '../types.ts';
import { registrationSource } from './registration.ts';
import { hasStartingTwin, type ResolveFacts, resolveNeed } from './resolve.ts';

const symbol = (name: string, type: string, address: bigint): KernelSymbol => ({ name, type, address });

const VMLINUX = [
  symbol('init_once', 't', 1n),
  symbol('init_once', 't', 2n),
  symbol('kfree', 'T', 3n),
  symbol('unexported', 'T', 4n),
  symbol('sema', 't', 5n),
  symbol('sema', 'T', 6n),
  symbol('both', 'T', 7n),
  symbol('both', 'T', 8n),
];
const MODULE = [
  symbol('mod_hook', 'T', 1n),
  symbol('own', 't', 2n),
  symbol('twice', 't', 3n),
  symbol('twice', 'i', 4n),
];

const exported = (name: string, object: string, namespace = ''): [string, ExportedSymbol] => [
  name,
  { name, object, namespace, crc: '0x00000001', gplOnly: false },
];

const image: ShippedImage = {
  object: 'vmlinux',
  complete: false,
  read: () => undefined,
  named: (name) => VMLINUX.filter((entry) => entry.name === name).map(({ address }) => address),
  namesAt: () => [],
};

function facts(object: string, addresses: readonly ProvenAddress[] = []): ResolveFacts {
  const proof: UnitProof = {
    source: 'a/unit.c',
    object,
    equal: [],
    different: [],
    addresses: new Map(addresses.map((address) => [address.name, address])),
  };
  return {
    unit: { source: 'a/unit.c', object },
    proof,
    exports: new Map([
      exported('kfree', 'vmlinux'),
      exported('spaced', 'vmlinux', 'CRYPTO_INTERNAL'),
      exported('mod_hook', 'some_mod'),
      exported('unexported', 'vmlinux', 'module:kvm'),
    ]),
    vmlinux: { named: (name) => VMLINUX.filter((entry) => entry.name === name) },
    module: (name) => (name === 'some_mod' ? MODULE : undefined),
    image,
    requires: new Set(object === 'user' ? ['some_mod'] : []),
  };
}

const outcome = (name: string, given: ResolveFacts): unknown => {
  const settled = resolveNeed({ name }, given);
  return 'verdict' in settled ? [settled.verdict, settled.code] : settled;
};

test('refers to exports of vmlinux directly, with the namespace that they require', () => {
  assert.deepEqual(outcome('kfree', facts('some_mod')), {
    kind: 'export',
    name: 'kfree',
    exportedName: 'kfree',
    namespace: '',
  });
  const spaced = resolveNeed({ name: 'spaced' }, facts('vmlinux'));
  assert.ok('namespace' in spaced && spaced.namespace === 'CRYPTO_INTERNAL');
  const text = registrationSource({
    description: 'd',
    replace: true,
    objects: new Map(),
    namespaces: [spaced.namespace],
  });
  assert.match(text, /MODULE_INFO\(import_ns, "CRYPTO_INTERNAL"\);/);
});

test('resolves what a module exports by livepatch, for a module that depends on it; refuses it for others', () => {
  assert.deepEqual(outcome('mod_hook', facts('user')), {
    kind: 'klp',
    name: 'mod_hook',
    object: 'some_mod',
    symbol: 'mod_hook',
    sympos: 0,
  });
  assert.deepEqual(outcome('mod_hook', facts('vmlinux')), ['refused', 'symbol-late']);
  assert.deepEqual(outcome('mod_hook', facts('other')), ['refused', 'symbol-late']);
});

test('requires a proof, or a single global symbol, among several of one name', () => {
  // Static ones are of other files: it may be new in another unit of the livepatch.
  assert.deepEqual(outcome('init_once', facts('vmlinux')), ['refused', 'symbol-unknown']);
  assert.deepEqual(outcome('sema', facts('vmlinux')), {
    kind: 'klp',
    name: 'sema',
    object: 'vmlinux',
    symbol: 'sema',
    sympos: 2,
  });
  const proven = { object: 'vmlinux', name: 'init_once', address: 2n, sympos: 2 };
  assert.deepEqual(outcome('init_once', facts('vmlinux', [proven])), {
    kind: 'klp',
    name: 'init_once',
    object: 'vmlinux',
    symbol: 'init_once',
    sympos: 2,
  });
  assert.deepEqual(outcome('both', facts('vmlinux')), ['refused', 'symbol-unproven']);
  assert.deepEqual(outcome('nowhere', facts('vmlinux')), ['refused', 'symbol-unknown']);
  assert.ok(hasStartingTwin(facts('some_mod'), 'some_mod', 'twice'));
});

test('takes a variable or function of the unit itself from the running kernel where the proof says so', async () => {
  const view = await objectOf('static int own = 1; int f(void) { return own++; }');
  const original = view.byKey('own');
  assert.ok(original !== undefined);
  const need = { name: 'own', original };
  const place = { object: 'some_mod', name: 'own.7', address: 2n, sympos: 0 };
  const proof = { ...facts('some_mod').proof, addresses: new Map([['own', place]]) };
  const settled = resolveNeed(need, { ...facts('some_mod'), proof });
  // The number that the shipped object gave it.
  assert.ok(!('verdict' in settled) && settled.kind === 'klp' && settled.symbol === 'own.7');
  const unproven = resolveNeed(need, { ...facts('some_mod'), image: { ...image, named: () => [1n, 2n] } });
  assert.ok('verdict' in unproven && unproven.code === 'symbol-unproven');
});

test("refuses what a module drops once it has started, and keeps vmlinux's names", async () => {
  const view = await objectOf(
    'int __attribute__((section(".init.text"))) start(void) { return 1; } int __attribute__((section(".ref.text"))) f(void) { return start(); }',
  );
  const original = view.byKey('start');
  assert.ok(original !== undefined);
  const place = { object: 'some_mod', name: 'start', address: 2n, sympos: 0 };
  const settled = (object: string) => resolveNeed({ name: 'start', original }, facts(object, [{ ...place, object }]));
  const [ofModule, ofVmlinux] = [settled('some_mod'), settled('vmlinux')];
  assert.ok('verdict' in ofModule && ofModule.code === 'init-referenced');
  assert.ok(!('verdict' in ofVmlinux) && ofVmlinux.kind === 'klp');
});

test('finds what vmlinux exports to other modules alone as what it does not export', () => {
  assert.deepEqual(outcome('unexported', facts('vmlinux')), {
    kind: 'klp',
    name: 'unexported',
    object: 'vmlinux',
    symbol: 'unexported',
    sympos: 0,
  });
});
