import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { exists } from '@kmend/base/node';
import { spawnBound } from './bound.ts';
import { withLock } from './lock.ts';
import { makeScratch } from './scratch.ts';

const directory = await mkdtemp(join(tmpdir(), 'kmend-lab-'));
after(() => rm(directory, { recursive: true }));

const signal = new AbortController().signal;
const here = (name: string): string => JSON.stringify(join(import.meta.dirname, name));

/** Another Node process that starts a bound child, makes a scratch directory, takes a lock, and then stays. */
const OWNER = `
  const { spawnBound } = await import(${here('bound.ts')});
  const { makeScratch } = await import(${here('scratch.ts')});
  const { withLock } = await import(${here('lock.ts')});
  const directory = process.argv[1];
  const child = spawnBound('sleep', ['1000'], { cwd: directory, channels: 1 });
  const scratch = await makeScratch(directory);
  await withLock(directory + '/lock', new AbortController().signal, async () => {
    console.log(JSON.stringify({ pid: child.pid, path: scratch.path }));
    await new Promise((resolve) => setTimeout(resolve, 100_000));
  });
`;

async function isAlive(pid: number): Promise<boolean> {
  try {
    // A killed child whose parent died is a zombie until init reaps it.
    return !/^State:\s+Z/m.test(await readFile(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

async function until(condition: () => Promise<boolean>): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (await condition()) return true;
    await delay(50);
  }
  return false;
}

for (const how of ['SIGKILL', 'SIGINT', 'SIGTERM'] as const) {
  test(`ends the children, the scratch directory and the locks of a process that dies of ${how}`, async () => {
    const owner = spawn(process.execPath, ['--input-type=module', '-e', OWNER, directory], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = await once(owner.stdout, 'data');
    const { pid, path } = JSON.parse(String(line));
    // Until its exec the child is setpriv or sh; what counts is that it lives.
    assert.ok(await isAlive(pid));
    assert.ok(await exists(path));
    let entered = false;
    const waiting = withLock(join(directory, 'lock'), signal, async () => {
      entered = true;
    });
    await delay(100);
    assert.equal(entered, false, 'the lock is held');
    owner.kill(how);
    await once(owner, 'exit');
    assert.ok(await until(async () => !(await isAlive(pid))), 'the child is gone');
    assert.ok(await until(async () => !(await exists(path))), 'the directory is gone');
    await waiting;
    assert.equal(entered, true);
  });
}

test('opens channels before the first byte', async () => {
  const child = spawnBound('sh', ['-c', 'echo hello >&3; read line <&3; echo "$line"'], { cwd: '/', channels: 1 });
  const channel = child.stdio[3];
  assert.ok(channel !== null && channel !== undefined && 'write' in channel);
  const [greeting] = await once(channel, 'data');
  assert.equal(String(greeting), 'hello\n');
  channel.write('back\n');
  assert.ok(child.stdout !== null);
  const [answer] = await once(child.stdout, 'data');
  assert.equal(String(answer), 'back\n');
});

test('lets one holder of a lock in at a time, and ends the waiting on an interrupt', async () => {
  const path = join(directory, 'once');
  let inside = 0;
  let most = 0;
  const work = async (): Promise<void> => {
    inside++;
    most = Math.max(most, inside);
    await delay(20);
    inside--;
  };
  await Promise.all([withLock(path, signal, work), withLock(path, signal, work), withLock(path, signal, work)]);
  assert.equal(most, 1);
  const controller = new AbortController();
  await withLock(path, signal, async () => {
    const waiting = withLock(path, controller.signal, work);
    setTimeout(() => controller.abort(new Error('interrupted')), 50);
    await assert.rejects(waiting, /interrupted/);
  });
});

test('removes a scratch directory with its content', async () => {
  const scratch = await makeScratch(join(directory, 'runs'));
  assert.ok(await exists(scratch.path));
  await scratch.remove();
  assert.equal(await exists(scratch.path), false);
});
