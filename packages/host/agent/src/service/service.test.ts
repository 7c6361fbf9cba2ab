import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { createQueue } from '@kmend/base';
import { systemClock } from '@kmend/base/node';
import { paths } from '../edges/paths.ts';
import { AgentError } from '../error.ts';
import { openJournal } from '../state/store.ts';
import { code } from '../testing/errors.ts';
import { makeHost, never, type TestHost } from '../testing/host.ts';
import { TestPackages } from '../testing/packages.ts';
import { type Actor, perform } from './commands.ts';
import { askService, serveControl } from './control.ts';
import { takeLock } from './lock.ts';
import { type CommandResult, ConsiderOrder } from './orders.ts';
import { runLoader } from './run.ts';

async function directory(t: { after(work: () => Promise<void>): void }): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kmend-agent-service-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('allows one actor at a time, and frees a lock with its holder', async (t) => {
  const path = join(await directory(t), 'lock');
  const lock = await takeLock(path);
  await assert.rejects(takeLock(path), code('busy'));
  lock.release();
  const again = async (): Promise<void> => {
    for (let tries = 0; tries < 100; tries += 1) {
      try {
        return (await takeLock(path)).release();
      } catch (error) {
        if (!(error instanceof AgentError)) throw error;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    assert.fail('the lock never came free');
  };
  await again();
  const source = `import { takeLock } from '${new URL('lock.ts', import.meta.url).href}'; await takeLock('${path}'); console.log('held'); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--input-type=module', '-e', source], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  await assert.rejects(takeLock(path), code('busy'));
  holder.kill('SIGKILL');
  await again();
});

const LOOK = { command: 'consider', fetched: [], follow: true } as const;

test('carries requests over a socket: progress, result, errors, no listener, unknown requests', async (t) => {
  const path = join(await directory(t), 'control.sock');
  assert.equal(await askService(path, LOOK, () => {}, never), undefined);
  const result: CommandResult = { action: 'load', reason: null, chosen: 1, state: 'soak', serial: 1 };
  const handler = async (order: ConsiderOrder, tell: (text: string) => void): Promise<CommandResult> => {
    if (order.fetched.length > 0) throw new AgentError('disk-full', 'full', { hint: 'free some' });
    tell('half way');
    return result;
  };
  const server = await serveControl(ConsiderOrder, handler, { path });
  t.after(() => void server.close());
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const told: string[] = [];
  assert.deepEqual(await askService(path, LOOK, (text) => told.push(text), never), result);
  assert.deepEqual(told, ['half way']);
  const hint = { code: 'disk-full', message: 'full', hint: 'free some' };
  await assert.rejects(
    askService(path, { ...LOOK, fetched: [1] }, () => {}, never),
    hint,
  );
  // The fetcher's socket takes no administrator's order, from any sender.
  for (const order of [
    { command: 'revert', to: 'none', untilNewer: false, fetched: [] },
    { command: 'apply', serial: 1, fetched: [] },
    { command: 'hold', until: null, reason: 'x' },
    { command: 'resume' },
    { command: 'consolidate', undo: false, fetched: [] },
  ] as const) {
    await assert.rejects(askService(path, order, () => {}, never));
  }
});

function actorOf(host: TestHost): Actor {
  return { loader: host.loader, queue: createQueue(), changed: () => {} };
}

test('follows a load to its outcome, and reports a stuck one without forcing it', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const actor = actorOf(host);
  assert.deepEqual(await perform(actor, LOOK, never, () => {}), {
    action: 'load',
    reason: null,
    chosen: 1,
    state: 'soak',
    serial: 1,
  });
  host.kernel.blocked = true;
  host.repository.choose(2);
  await assert.rejects(
    perform(actor, LOOK, never, () => {}),
    code('transition-stuck'),
  );
  assert.equal(host.loader.store.journal.current?.phase, 'transition');
  assert.ok(!host.kernel.commands.some((it) => it.includes('force')));
  host.kernel.blocked = false;
  const order = { command: 'revert', to: 'none', untilNewer: false, fetched: [] } as const;
  const back = await perform(actor, order, never, () => {});
  assert.equal(back.action, 'revert');
});

test('asks for a missing livepatch once', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  host.repository.missing.add(1);
  const actor = actorOf(host);
  const wanted = await perform(actor, LOOK, never, () => {});
  assert.deepEqual([wanted.action, wanted.serial], ['fetch', 1]);
  await assert.rejects(
    perform(actor, { ...LOOK, fetched: [1] }, never, () => {}),
    code('not-found'),
  );
  host.repository.missing.clear();
  assert.equal((await perform(actor, { ...LOOK, fetched: [1] }, never, () => {})).action, 'load');
});

test('holds a serial with apply --serial, goes back with revert --previous, follows policy again with resume', async (t) => {
  const host = await makeHost(t);
  const actor = actorOf(host);
  const say = (): void => {};
  host.repository.choose(2);
  await perform(actor, { command: 'apply', serial: 1, fetched: [] }, never, say);
  assert.equal(host.loader.store.journal.current?.serial, 1);
  assert.equal((await perform(actor, LOOK, never, say)).reason, 'held');
  await perform(actor, { command: 'apply', serial: 2, fetched: [] }, never, say);
  assert.equal(host.loader.store.journal.current?.serial, 2);
  const back = { command: 'revert', to: 'previous', untilNewer: false, fetched: [] } as const;
  assert.deepEqual((await perform(actor, back, never, say)).serial, 1);
  await assert.rejects(perform(actor, back, never, say), code('nothing-older'));
  assert.equal((await perform(actor, LOOK, never, say)).reason, 'held');
  await perform(actor, { command: 'resume' }, never, say);
  assert.equal((await perform(actor, LOOK, never, say)).serial, 2);
});

test('exits when idle, and each socket takes only its own requests', async (t) => {
  const host = await makeHost(t, { soakSeconds: 0 });
  host.repository.choose(1);
  const place = await directory(t);
  const places = { orders: { path: join(place, 'a') }, consider: { path: join(place, 'b') } };
  const loader = { ...host.loader, edges: { ...host.loader.edges, clock: systemClock } };
  const running = runLoader(loader, places, never);
  await new Promise((resolve) => setTimeout(resolve, 100));
  const result = await askService(places.consider.path, LOOK, () => {}, never);
  assert.equal(result?.action, 'load');
  await assert.rejects(askService(places.consider.path, { command: 'resume' }, () => {}, never));
  assert.equal((await askService(places.orders.path, { command: 'resume' }, () => {}, never))?.action, 'resume');
  await running;
  assert.equal(host.loader.store.journal.current?.phase, 'good');
  assert.equal(await askService(places.orders.path, LOOK, () => {}, never), undefined);
});

test('continues at once after an interrupted look that had loaded a livepatch', async (t) => {
  const host = await makeHost(t, { soakSeconds: 0 });
  host.repository.choose(1);
  await perform(actorOf(host), LOOK, never, () => {});
  await host.advance();
  host.repository.choose(2);
  const place = await directory(t);
  const { files } = host.loader.edges;
  let failures = 0;
  const failing: typeof files = {
    ...files,
    async writeAtomic(path, data, mode) {
      if (failures === 0 && path === paths.journal && String(data).includes('"phase":"transition"')) {
        failures += 1;
        throw Object.assign(new Error('ENOSPC: no space left on device, fchmod'), { code: 'ENOSPC' });
      }
      await files.writeAtomic(path, data, mode);
    },
  };
  const store = await openJournal({ ...host.loader.edges, files: failing });
  const loader = { ...host.loader, store, edges: { ...host.loader.edges, files: failing, clock: systemClock } };
  await loader.observed.save({ ...loader.observed.value, wakeAt: new Date(0).toISOString() });
  const stop = new AbortController();
  const running = runLoader(
    loader,
    { orders: { path: join(place, 'a') }, consider: { path: join(place, 'b') } },
    stop.signal,
  );
  const settled = (): boolean => store.journal.current?.serial === 2 && store.journal.current.phase === 'good';
  for (let tries = 0; tries < 100 && !settled(); tries += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  stop.abort();
  await running;
  assert.deepEqual([failures, settled()], [1, true]);
});

test('follows a consolidation to its outcome; --undo announces the gap', async (t) => {
  const host = await makeHost(t);
  const packages = await TestPackages.make(host.kernel);
  const module = await packages.install(1, ['CVE-2026-1']);
  host.repository.choose(5);
  const actor = actorOf(host);
  const told: string[] = [];
  const ask = (undo: boolean) =>
    perform(actor, { command: 'consolidate', undo, fetched: [] }, never, (text) => told.push(text));
  assert.deepEqual(await ask(false), { action: 'consolidate', reason: null, chosen: 5, state: 'soak', serial: 5 });
  await assert.rejects(ask(false), code('no-stack'));
  assert.deepEqual(await ask(true), { action: 'hand-over', reason: null, chosen: null, state: 'idle', serial: 5 });
  assert.match(told.join(), /for some seconds nothing is in force/);
  assert.ok(await host.kernel.isEnabled(module));
});
