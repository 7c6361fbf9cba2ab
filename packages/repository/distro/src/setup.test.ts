import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk, sha256 } from '@kmend/base/node';
import { createKey, withSigner } from './openpgp.ts';
import { aptSetup, dnfSetup } from './setup.ts';
import { hasCode, world } from './testing/world.ts';

const URL = 'https://packages.example.org/apt';

async function makeKeyring(folder: string): Promise<string> {
  const keyFile = join(folder, 'packages.key');
  const time = new Date('2026-11-01T00:00:00Z');
  await createKey(run, { keyFile, name: 'Example Fleet', email: 'p@example.invalid', time, algorithm: 'ed25519' });
  return await withSigner(run, { keyFile }, async (signer) => signer.keyringText);
}

test('writes the files with the snippet, those with a key readable by root alone', async (t) => {
  const { folder } = await world(t);
  const keyring = await makeKeyring(folder);
  const setups = [aptSetup({ url: URL, keyring, gated: true }), dnfSetup({ url: URL, keyring, gated: true })];
  for (const [index, { files, snippet }] of setups.entries()) {
    const root = join(folder, `root${index}`);
    await mkdir(join(root, 'etc'), { recursive: true });
    await writeFile(join(root, 'etc/machine-id'), 'of this machine\n');
    const lines = snippet.trimEnd().split('\n');
    assert.match(lines.pop() ?? '', /^(apt-get update|dnf -y --repo=kmend makecache)$/);
    await runOk(run, 'sh', ['-eu'], { stdin: lines.join('\n').replaceAll(' /etc/', ` ${root}/etc/`) });
    for (const { path, mode, text } of files) {
      const machine = sha256('of this machine\n').slice(0, 16);
      assert.equal(await readFile(join(root, path), 'utf8'), text.replace('THIS-MACHINE', machine));
      assert.equal((await stat(join(root, path))).mode & 0o777, mode);
      assert.equal(text.includes('ACTIVATION-KEY'), mode === 0o600);
    }
  }
  assert.match(
    setups[0]?.files[1]?.text ?? '',
    /^machine packages.example.org\/apt login kmend-THIS-MACHINE password ACTIVATION-KEY\n$/,
  );
});

test('gives each machine without an id a name of its own', async (t) => {
  const { folder } = await world(t);
  const { snippet } = aptSetup({ url: URL, keyring: await makeKeyring(folder), gated: true });
  const names = new Set<string>();
  for (const [index, id] of ['', '\n', 'uninitialized\n', undefined, undefined].entries()) {
    const root = join(folder, `root${index}`);
    await mkdir(join(root, 'etc'), { recursive: true });
    if (id !== undefined) await writeFile(join(root, 'etc/machine-id'), id);
    const lines = snippet.trimEnd().split('\n').slice(0, -1);
    await runOk(run, 'sh', ['-eu'], { stdin: lines.join('\n').replaceAll(' /etc/', ` ${root}/etc/`) });
    const text = await readFile(join(root, 'etc/apt/auth.conf.d/kmend.conf'), 'utf8');
    names.add(/login kmend-([0-9a-f]{16}) password/.exec(text)?.[1] ?? text);
  }
  assert.equal(names.size, 5);
});

test('refuses addresses and names that would write something else', async (t) => {
  const { folder } = await world(t);
  const keyring = await makeKeyring(folder);
  const good = { url: URL, keyring };
  assert.match(aptSetup({ ...good, suite: 'security' }).snippet, /\nSuites: security\n/);
  for (const wrong of [
    { ...good, url: 'https://user:secret@packages.example.org/' },
    { ...good, url: 'https://packages.example.org/\nTrusted: yes' },
    { ...good, url: 'ftp://packages.example.org/' },
    { ...good, url: 'http://packages.example.org/', gated: true },
    { ...good, name: '../kmend' },
    { ...good, keyring: keyring.replace('\n\n', '\n\nEND-OF-FILE\nrm -rf $HOME\n') },
  ]) {
    assert.throws(() => aptSetup(wrong), hasCode('setting-invalid'), JSON.stringify(wrong));
    assert.throws(() => dnfSetup(wrong), hasCode('setting-invalid'), JSON.stringify(wrong));
  }
});
