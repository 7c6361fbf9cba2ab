import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Report } from '@kmend/protocol';
import { AgentError } from '../error.ts';
import { reportContent, sendReport } from '../server/report.ts';
import { code } from '../testing/errors.ts';
import { makeHost, never } from '../testing/host.ts';
import { createActor, perform } from './commands.ts';
import { askService, serveControl } from './control.ts';
import { takeLock } from './lock.ts';
import type { CommandResult } from './orders.ts';
import { retryMs } from './reporter.ts';
import { jittered } from './run.ts';
import { createQueue } from './sleep.ts';

async function directory(t: { after(work: () => Promise<void>): void }): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'kmend-agent-service-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

test('one actor at a time; a lock dies with its holder', async (t) => {
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

test('commands over the socket: progress, result, errors with code and hint, nobody there', async (t) => {
  const path = join(await directory(t), 'control.sock');
  assert.equal(await askService({ command: 'check' }, () => {}, never, path), undefined);
  const result: CommandResult = { action: 'load', reason: null, chosen: 1, state: 'soak', serial: 1 };
  const server = await serveControl(async (command, tell) => {
    if (command.command === 'resume') throw new AgentError('disk-full', 'full', { hint: 'free some' });
    tell('half way');
    return result;
  }, path);
  t.after(() => void server.close());
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const told: string[] = [];
  assert.deepEqual(await askService({ command: 'check' }, (text) => told.push(text), never, path), result);
  assert.deepEqual(told, ['half way']);
  const hint = { code: 'disk-full', message: 'full', hint: 'free some' };
  await assert.rejects(
    askService({ command: 'resume' }, () => {}, never, path),
    hint,
  );
});

test('check follows a load to its outcome; a stuck one is an error that forces nothing', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const actor = createActor(host.agent, createQueue(), never, () => {});
  assert.deepEqual(await perform(actor, { command: 'check' }, never, () => {}), {
    action: 'load',
    reason: null,
    chosen: 1,
    state: 'soak',
    serial: 1,
  });
  host.kernel.blocked = true;
  host.repository.choose(2);
  await assert.rejects(
    perform(actor, { command: 'check' }, never, () => {}),
    code('transition-stuck'),
  );
  assert.equal(host.agent.store.journal.current?.phase, 'transition');
  assert.ok(!host.kernel.commands.some((it) => it.includes('force')));
  host.kernel.blocked = false;
  const back = await perform(actor, { command: 'revert', untilNewer: false }, never, () => {});
  assert.equal(back.action, 'revert');
});

test('a report carries the events once, counts up, and takes the channel the server gives', async (t) => {
  const host = await makeHost(t);
  host.repository.choose(1);
  const actor = createActor(host.agent, createQueue(), never, () => {});
  await perform(actor, { command: 'check' }, never, () => {});
  const seen: Report[] = [];
  let status = 503;
  const server = createServer(async (request, response) => {
    assert.equal(request.headers.authorization, 'Bearer secret');
    seen.push(Report.parse(JSON.parse(Buffer.concat(await request.toArray()).toString())));
    response.writeHead(status).end(JSON.stringify({ nextReportSeconds: 86_400, channel: 'early' }));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const agent = { ...host.agent, config: { ...host.agent.config, server: url }, edges: { ...host.agent.edges, fetch } };
  await assert.rejects(sendReport(agent, await reportContent(agent), never));
  status = 200;
  assert.equal(await sendReport(agent, await reportContent(agent), never), 86_400);
  assert.deepEqual(
    seen.map((it) => it.sequence),
    [1, 2],
  );
  assert.deepEqual(
    seen[1]?.events.map((it) => it.code),
    ['load-started', 'loaded', 'transition-complete', 'replaced'],
  );
  assert.equal(seen[1]?.effectiveSerial, 1);
  assert.equal(seen[1]?.facts.microcode, '0xf0');
  assert.deepEqual((await reportContent(agent)).events, []);
  assert.equal(agent.identity.channel, 'early');
});

test('intervals are jittered, retries back off to an hour', () => {
  assert.deepEqual([jittered(100, 0), jittered(100, 0.5), jittered(100, 1)], [80_000, 100_000, 120_000]);
  assert.deepEqual([retryMs(1, 0), retryMs(1, 1), retryMs(5, 1), retryMs(99, 1)], [2_500, 5_000, 80_000, 3_600_000]);
});
