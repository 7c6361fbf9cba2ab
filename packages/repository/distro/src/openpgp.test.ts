import assert from 'node:assert/strict';
import { chmod, mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { createKey, withSigner } from './openpgp.ts';
import { hasCode, world } from './testing/world.ts';

const TIME = new Date('2026-10-01T00:00:00Z');
const LATER = new Date('2026-11-01T00:00:00Z');
const who = { name: 'Example Fleet', email: 'packages@example.invalid', time: TIME };

test('signs with a key that gpgv accepts, and leaves nothing of it behind', async (t) => {
  const { folder } = await world(t);
  const keyFile = join(folder, 'packages.key');
  const fingerprint = await createKey(run, { keyFile, ...who });
  assert.equal((await stat(keyFile)).mode & 0o777, 0o600);
  await assert.rejects(createKey(run, { keyFile, ...who }), hasCode('key-exists'));
  const { TMPDIR } = process.env;
  process.env['TMPDIR'] = folder;
  t.after(() => {
    if (TMPDIR === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = TMPDIR;
  });
  await withSigner(run, { keyFile }, async (signer) => {
    assert.match(signer.environment['GNUPGHOME'] ?? '', new RegExp(`^${folder}/kmend-gpg-`));
    assert.equal(signer.fingerprint, fingerprint);
    const signature = await signer.detached('said\n', LATER);
    assert.deepEqual(
      await signer.detached('said\n', LATER),
      signature,
      'the same text and time give the same signature',
    );
    const keyring = join(folder, 'keyring.gpg');
    await writeFile(keyring, signer.publicKey);
    await writeFile(join(folder, 'said.sig'), signature);
    await writeFile(join(folder, 'said'), 'said\n');
    const verify = ['--keyring', keyring, '--status-fd', '1', join(folder, 'said.sig'), join(folder, 'said')];
    const said = (await runOk(run, 'gpgv', verify)).toString();
    assert.match(said, new RegExp(`VALIDSIG ${fingerprint} 2026-11-01`));
    await writeFile(join(folder, 'said'), 'Said\n');
    assert.notEqual((await run('gpgv', verify)).exitCode, 0);
    assert.match(
      (await signer.inline('text\n', LATER)).toString(),
      /^-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n/,
    );
    // One from before the key was made counts as made with the key.
    await writeFile(join(folder, 'said.sig'), await signer.detached('Said\n', new Date(0)));
    assert.match((await runOk(run, 'gpgv', verify)).toString(), /VALIDSIG .* 2026-10-01/);
  });
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('kmend-gpg-')),
    [],
  );
});

test('refuses a key that is bound by SHA-1, which apt on Debian 13 rejects, and takes it when it is bound anew', async (t) => {
  const { folder } = await world(t);
  const keyFile = join(folder, 'packages.key');
  const env = { ...process.env, GNUPGHOME: join(folder, 'home') };
  await mkdir(env.GNUPGHOME, { mode: 0o700 });
  const gpg = (...args: string[]) => runOk(run, 'gpg', ['--batch', '--quiet', '--passphrase', '', ...args], { env });
  await gpg(
    '--cert-digest-algo',
    'SHA1',
    '--quick-generate-key',
    'Fleet <packages@example.invalid>',
    'rsa2048',
    'sign',
  );
  const keep = async (): Promise<void> => await writeFile(keyFile, await gpg('--export-secret-keys'), { mode: 0o600 });
  await keep();
  await assert.rejects(
    withSigner(run, { keyFile }, async () => {}),
    (error: Error) => hasCode('key-invalid')(error) && /SHA-1/.test(error.message),
  );
  const [, fingerprint = ''] = /^fpr:+(\w+):/m.exec((await gpg('--with-colons', '--list-keys')).toString()) ?? [];
  await gpg('--cert-digest-algo', 'SHA512', '--quick-set-expire', fingerprint, '10y');
  await keep();
  assert.equal(await withSigner(run, { keyFile }, async (signer) => signer.fingerprint), fingerprint);
  await runOk(run, 'gpgconf', ['--kill', 'all'], { env });
});

test('opens a key with a passphrase from a file', async (t) => {
  const { folder } = await world(t);
  const keyFile = join(folder, 'packages.key');
  const passphraseFile = join(folder, 'passphrase');
  await writeFile(passphraseFile, 'open sesame\n', { mode: 0o600 });
  const home = join(folder, 'home');
  await runOk(run, 'mkdir', ['-m', '0700', home]);
  const gpg = [
    '--homedir',
    home,
    '--batch',
    '--quiet',
    '--pinentry-mode',
    'loopback',
    '--passphrase-file',
    passphraseFile,
  ];
  await runOk(run, 'gpg', [...gpg, '--quick-generate-key', 'x <x@example.invalid>', 'ed25519', 'sign', 'never']);
  await writeFile(keyFile, await runOk(run, 'gpg', [...gpg, '--export-secret-keys']), { mode: 0o600 });
  await run('gpgconf', ['--homedir', home, '--kill', 'all']);
  await withSigner(run, { keyFile, passphraseFile }, async (signer) => await signer.detached('said', LATER));
  await assert.rejects(
    withSigner(run, { keyFile }, async () => {}),
    hasCode('key-invalid'),
  );
  await chmod(passphraseFile, 0o640);
  await assert.rejects(
    withSigner(run, { keyFile, passphraseFile }, async () => {}),
    hasCode('key-readable'),
  );
});

test('refuses a key that is missing, readable by others or not a key', async (t) => {
  const { folder } = await world(t);
  const keyFile = join(folder, 'packages.key');
  await assert.rejects(
    withSigner(run, { keyFile }, async () => {}),
    hasCode('key-missing'),
  );
  await writeFile(keyFile, 'no key', { mode: 0o600 });
  await assert.rejects(
    withSigner(run, { keyFile }, async () => {}),
    hasCode('key-invalid'),
  );
  await chmod(keyFile, 0o644);
  await assert.rejects(
    withSigner(run, { keyFile }, async () => {}),
    hasCode('key-readable'),
  );
  for (const name of ['a\nb', 'a <b']) {
    await assert.rejects(createKey(run, { ...who, keyFile: join(folder, 'other'), name }), hasCode('key-invalid'));
  }
});
