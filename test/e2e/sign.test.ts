import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run, runOk, sha256 } from '@kmend/base/node';
import { Provenance } from '@kmend/builder';
import { moduleIdentity } from '@kmend/elf';
import { FIXES, importFixes, KERNEL, Operator, openLab, SUITE, unload } from '@kmend/harness';
import { Livepatch } from '@kmend/protocol';

const { signal } = new AbortController();
const operator = await Operator.make(signal);
const { lab, kernels } = openLab(operator.cache, signal);
const key = join(operator.home, 'module.pem');

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args), FIXES.slice(0, 1));
  const pair = ['-newkey', 'rsa:2048', '-noenc', '-keyout', key, '-out', join(operator.home, 'module.crt')];
  await runOk(run, 'openssl', ['req', '-new', '-x509', ...pair, '-subj', '/CN=An operator', '-days', '365']);
});
after(async () => {
  await lab.close();
  await operator.remove();
});

interface Built {
  readonly manifest: Livepatch;
  readonly module: Buffer;
  readonly out: string;
}

async function build(name: string, ...more: string[]): Promise<Built> {
  const out = join(operator.home, name);
  const json = await operator.kmend('build', '--kernel', KERNEL, '--fix', FIXES[0].id, '--out', out, ...more);
  const manifest = Livepatch.parse(json);
  return { manifest, module: await readFile(join(out, manifest.file?.name ?? '')), out };
}

test('changes only the module’s end in a signed build, and names the signer in manifest and provenance', async () => {
  const plain = await build('plain');
  const signed = await build('signed', '--sign-key', key, '--sign-cert', join(operator.home, 'module.crt'));
  assert.ok(signed.module.subarray(0, plain.module.length).equals(plain.module));
  assert.ok(signed.module.subarray(plain.module.length).toString('latin1').endsWith('~Module signature appended~\n'));
  const { signature, file, ...rest } = signed.manifest;
  assert.deepEqual({ ...rest, file: plain.manifest.file }, plain.manifest);
  assert.equal(file?.sha256, sha256(signed.module));
  assert.deepEqual([signature?.signer, signature?.unsigned], ['An operator', sha256(plain.module)]);
  const statement = Provenance.parse(JSON.parse(await readFile(join(signed.out, 'provenance.json'), 'utf8')));
  assert.deepEqual(statement.subject[0]?.digest, { sha256: file?.sha256 });
  const again = await build('signed', '--sign-key', key, '--sign-cert', join(operator.home, 'module.crt'));
  assert.ok(again.module.equals(signed.module), 'RSA signatures are the same each time');
});

test('rejects an unusable key before the build, and signing options without a key', async () => {
  const out = join(operator.home, 'none');
  const args = ['build', '--kernel', KERNEL, '--fix', FIXES[0].id, '--out', out];
  const unsigned = await operator.run(...args, '--sign-key', key);
  assert.equal(unsigned.exitCode, 1);
  assert.match(unsigned.stderr, /\[sign-cert-unreadable\]/);
  assert.equal((await operator.run(...args, '--sign-cert', key)).exitCode, 2);
  assert.ok(!(await readdir(operator.home)).includes('none'));
});

test('the kernel reads the signature: loads where keys do not matter, reports a missing key where they do', async () => {
  const host = await lab.boot(await kernels.open(KERNEL), { name: 'sign' });
  const plain = await build('plain');
  const signed = await build('signed', '--sign-key', key, '--sign-cert', join(operator.home, 'module.crt'));
  const damaged = Buffer.from(signed.module);
  damaged.fill(0, plain.module.length + 20, plain.module.length + 60);
  await writeFile(join(operator.home, 'damaged.ko'), damaged);
  const name = signed.manifest.module;
  for (const [file, bytes] of Object.entries({ plain: plain.module, signed: signed.module, damaged }))
    await host.copyIn(bytes, `/root/${file}.ko`);

  await host.check('insmod /root/signed.ko');
  await host.check(`while [ "$(cat /sys/kernel/livepatch/${name}/transition)" = 1 ]; do sleep 0.2; done`);
  // What the agent compares: the kernel shows the identity of what it loaded, signed or not.
  const shown = await host.check(`od -An -v -tx1 /sys/module/${name}/notes/.note.gnu.build-id`);
  const identity = moduleIdentity(plain.module, name);
  assert.equal(identity?.id, plain.manifest.id);
  assert.ok(shown.replaceAll(/\s/g, '').endsWith(identity?.content ?? 'none'), shown);
  await host.check(
    `echo 0 > /sys/kernel/livepatch/${name}/enabled; while [ -e /sys/kernel/livepatch/${name} ]; do sleep 0.2; done`,
  );
  await unload(host, name);

  // As module.sig_enforce=1 on the kernel's command line.
  await host.check('echo 1 > /sys/module/module/parameters/sig_enforce');
  const refusal = async (file: string): Promise<string> => {
    await host.check('dmesg --clear');
    const { exitCode, stderr } = await host.run(['insmod', `/root/${file}.ko`]);
    assert.notEqual(exitCode, 0, file);
    return `${stderr}${await host.check('dmesg')}`;
  };
  assert.match(await refusal('plain'), /Key was rejected[\s\S]*unsigned module is rejected/);
  assert.match(await refusal('signed'), /Key was rejected[\s\S]*module with unavailable key is rejected/);
  assert.doesNotMatch(await refusal('damaged'), /unavailable key/);
});
