import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { followingHost, writeLivepatch } from '@kmend/harness/servers';
import { runKmend, type Said } from '../testing/run.ts';
import { keysCommands } from './keys.ts';
import { publishCommand } from './publish.ts';

const KMEND = fileURLToPath(new URL('../../../../../bin/kmend', import.meta.url));

/** `kmend server` as a process of its own; its address. */
async function startProcess(home: string): Promise<{ readonly process: ChildProcess; readonly url: string }> {
  const env = { ...process.env, KMEND_HOME: home };
  const child = spawn(KMEND, ['server', '--port', '0', '--log', 'error'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  for await (const line of createInterface({ input: child.stdout })) {
    const url = /^patch server +(http:\S+)$/.exec(line)?.[1];
    if (url !== undefined) return { process: child, url };
  }
  throw new Error('the server ended before it listened');
}

/** Kills a process as soon as a file exists, or once the work that would make it has ended. */
async function killWhen(child: ChildProcess, directory: string, name: string, over: AbortSignal): Promise<void> {
  while (!over.aborted) {
    if ((await readdir(directory).catch((): string[] => [])).includes(name)) break;
  }
  child.kill('SIGKILL');
  await once(child, 'exit');
}

test('finishes a rotation by the same command after the server was killed during it; hosts follow', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'kmend-keys-crash-'));
  t.after(() => rm(home, { recursive: true, force: true }));
  const path = (...parts: string[]): string => join(home, ...parts);
  let server = await startProcess(home);
  t.after(() => {
    server.process.kill('SIGKILL');
  });
  const kmend = (...argv: string[]): Promise<Said> =>
    runKmend([keysCommands, publishCommand], { KMEND_HOME: home, KMEND_SERVER: server.url }, ...argv);
  await writeLivepatch(path('livepatch-1'), 1);
  assert.equal((await kmend('publish', path('livepatch-1'), '--unproven')).exitCode, 0);
  const host = followingHost(path('keys', 'root.json'), path('host'));
  assert.equal(await host.follow(server.url), 1);
  const keys = path('server', 'keys');
  const metadata = path('server', 'repository', 'metadata');
  const moments: readonly (readonly [string, string, (root: number) => string])[] = [
    ['new keys are made', keys, () => 'next'],
    ['it is decided', keys, () => 'rotation.json'],
    ['the new root lies there', metadata, (root) => `${root + 1}.root.json`],
  ];
  for (const [what, directory, nameOf] of moments) {
    const roots = (await readdir(metadata)).filter((it) => it.endsWith('.root.json')).length;
    const name = nameOf(roots);
    const over = new AbortController();
    const killed = killWhen(server.process, directory, name, over.signal);
    const order = ['keys', 'rotate', 'root', 'release', 'online', '--yes'];
    const first = await kmend(...order);
    over.abort();
    await killed;
    server = await startProcess(home);
    assert.equal(await host.follow(server.url), 1, what);
    if (first.exitCode !== 0) {
      const again = await kmend(...order);
      assert.equal(again.exitCode, 0, `${what}: ${again.err}`);
    }
    assert.equal(await host.follow(server.url), 1, `${what}, and again`);
    assert.deepEqual(await readdir(keys), ['policy.key', 'root.json', 'snapshot.key', 'timestamp.key'], what);
    assert.ok(!(await readdir(path('keys'))).includes('next'), what);
  }
  await writeLivepatch(path('livepatch-2'), 2);
  assert.equal((await kmend('publish', path('livepatch-2'), '--unproven')).exitCode, 0);
  assert.equal(await host.follow(server.url), 2);
});
