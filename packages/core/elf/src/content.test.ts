import assert from 'node:assert/strict';
import { test } from 'node:test';
import { identifyModule, moduleIdentity, UNNAMED_MODULE, unsignedModule } from './content.ts';

const NOTE = Buffer.from('040000001400000003000000474e5500', 'hex');

/** What matters of a linked module: its name, twice, and a build id; `code` makes it another. */
function unnamed(code: string, linker = 7): Buffer {
  const name = Buffer.from(`name=${UNNAMED_MODULE}\0`);
  return Buffer.concat([Buffer.from(code), name, NOTE, Buffer.alloc(20, linker), name]);
}

/** scripts/sign-file: message, `struct module_signature`, magic. */
function signed(module: Uint8Array, message: string): Buffer {
  const head = Buffer.alloc(12);
  head[2] = 2;
  head.writeUInt32BE(message.length, 8);
  return Buffer.concat([module, Buffer.from(message), head, Buffer.from('~Module signature appended~\n')]);
}

test('derives a module’s name and build id from its content, whatever the linker wrote', () => {
  const { module, identity } = identifyModule(unnamed('code'));
  assert.match(identity.name, /^kmend_[0-9a-f]{12}$/);
  assert.equal(identity.content.slice(0, 12), identity.id);
  assert.ok(!Buffer.from(module).includes(UNNAMED_MODULE));
  assert.equal(Buffer.from(module).toString('latin1').split(identity.name).length, 3);
  assert.ok(Buffer.from(module).includes(Buffer.concat([NOTE, Buffer.from(identity.content, 'hex')])));
  assert.deepEqual(moduleIdentity(module, identity.name), identity);
  assert.deepEqual(identifyModule(unnamed('code', 9)), { module, identity });
  assert.notEqual(identifyModule(unnamed('kode')).identity.id, identity.id);
});

test('ignores the signature', () => {
  const { module, identity } = identifyModule(unnamed('code'));
  for (const message of ['one', 'another signature', '']) {
    assert.deepEqual(moduleIdentity(signed(module, message), identity.name), identity);
    assert.ok(Buffer.from(unsignedModule(signed(module, message))).equals(module));
  }
  const cut = Buffer.from(signed(module, 'one').subarray(module.length));
  cut.writeUInt32BE(4000, cut.length - 32);
  assert.throws(() => unsignedModule(cut), { code: 'elf-truncated' });
});

test('gives another id when a byte, a name or the build id changes', () => {
  const { module, identity } = identifyModule(unnamed('code'));
  for (let at = 0; at < module.length; at++) {
    const changed = Buffer.from(module);
    changed[at] = (changed[at] ?? 0) ^ 1;
    assert.equal(moduleIdentity(changed, identity.name), undefined, `byte ${at}`);
  }
  assert.equal(moduleIdentity(module, 'kmend_0123456789ab'), undefined);
  assert.equal(moduleIdentity(module, 'kmend'), undefined);
  assert.equal(moduleIdentity(unnamed('code'), UNNAMED_MODULE), undefined);
});

test('refuses a module that was not linked under the placeholder or has not exactly one build id', () => {
  for (const module of [Buffer.from('code'), Buffer.concat([NOTE, Buffer.alloc(20)]), Buffer.from(UNNAMED_MODULE)])
    assert.throws(() => identifyModule(module), { code: 'elf-inconsistent' });
  const twice = Buffer.concat([unnamed('code'), NOTE, Buffer.alloc(20)]);
  assert.throws(() => identifyModule(twice), { code: 'elf-inconsistent' });
  assert.throws(() => identifyModule(unnamed('code').subarray(0, 45)), { code: 'elf-inconsistent' });
});

test('refuses a module that holds the placeholder beside its name', () => {
  const { module, identity } = identifyModule(unnamed('code'));
  const forged = Buffer.from(module);
  forged.write(UNNAMED_MODULE, forged.indexOf(identity.name), 'latin1');
  assert.equal(moduleIdentity(forged, identity.name), undefined);
});
