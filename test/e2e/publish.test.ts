import assert from 'node:assert/strict';
import { cp, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { run } from '@kmend/base/node';
import {
  FIXES,
  importFixes,
  KERNEL,
  KMEND,
  type KmendResult,
  Operator,
  type ServerProcess,
  SUITE,
} from '@kmend/harness';

/**
 * Publishing as an operator does it: a real server process, a real livepatch, and what can go wrong between them.
 * Proofs are in prove.test.ts.
 */
const operator = await Operator.make(new AbortController().signal);
const out = join(operator.home, 'out');
let server: ServerProcess;

before(async () => {
  await operator.kmend('kernel', 'add', `${SUITE}/${KERNEL}`);
  await importFixes((...args) => operator.kmend(...args), [FIXES[0]]);
  await operator.kmend('build', '--kernel', KERNEL, '--fix', FIXES[0].id, '--out', out);
  server = await operator.startServer();
});
after(async () => {
  await server?.stop();
  await operator.remove();
});

function refusal({ exitCode, json, stderr }: KmendResult): [number, string | undefined] {
  assert.match(stderr, /kmend: .+ \[[a-z-]+\]/);
  return [exitCode, (json as { error?: { code: string } } | undefined)?.error?.code];
}

async function copy(name: string, edit: (file: string, bytes: Buffer) => Buffer): Promise<string> {
  const directory = join(operator.home, name);
  await cp(out, directory, { recursive: true });
  for (const file of await readdir(directory)) {
    const path = join(directory, file);
    await writeFile(path, edit(file, await readFile(path)));
  }
  return directory;
}

test('refuses to sign a damaged module, a damaged manifest, or a wrong folder', async () => {
  const flipped = await copy('flipped', (file, bytes) =>
    file.endsWith('.ko') ? Buffer.concat([bytes, Buffer.from('x')]) : bytes,
  );
  const garbage = await copy('garbage', (file, bytes) => (file.endsWith('.json') ? Buffer.from('{}') : bytes));
  for (const directory of [flipped, garbage, operator.home]) {
    const [exitCode, code] = refusal(await operator.run('publish', directory, '--unproven'));
    assert.equal(exitCode, 1);
    assert.match(code ?? '', /^livepatch-/, directory);
  }
  // The server has heard of no kernel yet.
  assert.equal(refusal(await operator.run('policy', 'kernel', KERNEL))[0], 1);
});

test('refuses the release key of another repository, a key that others can read, and a missing key', async () => {
  const other = join(operator.home, 'other');
  await operator.kmend('repo', 'init', '--data-dir', join(other, 'data'), '--keys', join(other, 'keys'));
  assert.deepEqual(refusal(await operator.run('publish', out, '--unproven', '--keys', join(other, 'keys'))), [
    1,
    'key-wrong',
  ]);
  await run('chmod', ['644', join(other, 'keys', 'release.key')]);
  assert.deepEqual(refusal(await operator.run('publish', out, '--unproven', '--keys', join(other, 'keys'))), [
    1,
    'key-damaged',
  ]);
  assert.deepEqual(refusal(await operator.run('publish', out, '--unproven', '--keys', join(other, 'none'))), [
    1,
    'keys-missing',
  ]);
  assert.deepEqual(refusal(await operator.run('repo', 'init')), [1, 'repository-exists']);
});

test('reports a wrong token, a server that is down, and one that is not kmend', async () => {
  const env = { ...operator.environment, KMEND_TOKEN: 'not-the-token-at-all' };
  const wrong = await run(KMEND, ['publish', out, '--unproven'], { env });
  assert.equal(wrong.exitCode, 1);
  assert.match(wrong.stderr, /\[unauthorized\]/);
  const down = await operator.run('host', 'list', '--server', 'http://127.0.0.1:9');
  assert.deepEqual(refusal(down), [1, 'server-unreachable']);
  const fake = createServer((_request, response) => response.end('<html>hello</html>'));
  await new Promise<void>((resolve) => fake.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = fake.address() as AddressInfo;
    assert.deepEqual(refusal(await operator.run('host', 'list', '--server', `http://127.0.0.1:${port}`)), [
      1,
      'server-garbage',
    ]);
  } finally {
    fake.close();
  }
});

test('refuses plain HTTP except on the loopback', async () => {
  const result = await operator.run(
    'server',
    '--host',
    '0.0.0.0',
    '--port',
    '0',
    '--data-dir',
    join(operator.home, 'open'),
    '--keys',
    join(operator.home, 'open-keys'),
  );
  assert.deepEqual(refusal(result), [1, 'tls-required']);
  assert.ok(!(await readdir(operator.home)).includes('open'));
});

test('publishes the good livepatch once after all refusals', async () => {
  const published = await operator.kmend<{ serial: number }>('publish', out, '--unproven');
  assert.equal(published.serial, 1);
  assert.deepEqual(refusal(await operator.run('publish', out, '--unproven')), [1, 'publication-duplicate']);
  const policy = await operator.kmend<{ channels: { stable: { settled: number } } }>('policy', 'kernel', KERNEL);
  assert.equal(policy.channels.stable.settled, 1);
});

test('names an unknown host', async () => {
  assert.deepEqual(refusal(await operator.run('host', 'show', 'nowhere')), [1, 'host-unknown']);
});
