import assert from 'node:assert/strict';
import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type TestContext, test } from 'node:test';
import { paths } from '../edges/paths.ts';
import { code } from '../testing/errors.ts';
import { never } from '../testing/host.ts';
import { TestKernel } from '../testing/kernel.ts';
import { asFetcher } from './as-fetcher.ts';
import type { Context } from './context.ts';
import { serveCommand } from './served.ts';

interface Far {
  readonly kernel: TestKernel;
  readonly notes: string[];
  run(env?: Record<string, string>, signal?: AbortSignal): ReturnType<typeof asFetcher>;
}

/** Root's end, with something at the other end of the socket that systemd would start. */
async function farEnd(t: TestContext, answer: (socket: Socket) => void): Promise<Far> {
  const kernel = await TestKernel.make();
  const path = kernel.path(paths.commandSocket);
  await mkdir(dirname(path), { recursive: true });
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(async () => {
    server.close();
    await rm(kernel.root, { recursive: true });
  });
  const notes: string[] = [];
  const run: Far['run'] = (env = {}, signal = never) =>
    asFetcher(kernel.edges(), ['fetcher-once', '--json'], { env, signal, stdin: 'key', note: (it) => notes.push(it) });
  return { kernel, notes, run };
}

type Program = Parameters<typeof serveCommand>[1];

function served(kernel: () => TestKernel, program: Program): (socket: Socket) => void {
  const base = { uid: 990, env: { HTTPS_PROXY: 'http://of-the-unit:3128' }, signal: never };
  return (socket) => void serveCommand(socket, program, { ...base, edges: kernel().edges() });
}

test('runs a command of root in the fetcher’s unit, with input, output, exit code and only the proxies of its environment', async (t) => {
  let seen: Omit<Context, 'terminal'> | undefined;
  let input = '';
  const far: Far = await farEnd(
    t,
    served(
      () => far.kernel,
      async (argv, streams, context) => {
        seen = context;
        for await (const chunk of context.stdin) input += chunk;
        streams.err.write('on the way\n');
        streams.out.write(JSON.stringify(argv));
        return 4;
      },
    ),
  );
  const env = { AWS_SECRET_ACCESS_KEY: 'x', NODE_OPTIONS: '--require=/x', HTTPS_PROXY: 'http://p:1', NO_PROXY: 'a' };
  assert.deepEqual(await far.run(env), { exitCode: 4, stdout: '["fetcher-once","--json"]' });
  assert.deepEqual([far.notes, input], [['on the way'], 'key']);
  // Root's own word stands above the unit's.
  assert.deepEqual(seen?.env, { HTTPS_PROXY: 'http://p:1', NO_PROXY: 'a' });
});

test('stops a command whose caller has gone away', async (t) => {
  const asked = new AbortController();
  let stopped: () => void = () => {};
  const done = new Promise<void>((resolve) => {
    stopped = resolve;
  });
  const far: Far = await farEnd(
    t,
    served(
      () => far.kernel,
      async (_argv, _streams, { signal }) => {
        signal.addEventListener('abort', stopped);
        asked.abort();
        await done;
        return 0;
      },
    ),
  );
  await assert.rejects(far.run({}, asked.signal), code('interrupted'));
  await done;
});

test('refuses a wrong fetcher, and reads a bounded amount from it', async (t) => {
  const answers: Record<string, (socket: Socket) => void> = {
    'ends at once': (socket) => socket.end(),
    'says something else': (socket) => socket.end('{"exit":"0"}\n'),
    'is no JSON': (socket) => socket.end('\u001b]0;x\u0007\n'),
    'says too much': (socket) => {
      socket.on('error', () => {});
      const more = (): void => {
        while (socket.writable && socket.write('x'.repeat(65_536)));
      };
      socket.on('drain', more);
      more();
    },
  };
  for (const [what, answer] of Object.entries(answers)) {
    const far = await farEnd(t, answer);
    await assert.rejects(far.run(), code('fetcher-failed'), what);
  }
});

test('runs only the requests of root', async (t) => {
  const far: Far = await farEnd(
    t,
    served(
      () => far.kernel,
      async () => assert.fail('it ran'),
    ),
  );
  const { kernel } = far;
  const args = ['loader' as 'fetcher-once'] as const;
  const given = { env: {}, signal: never, note: (it: string) => far.notes.push(it) };
  assert.equal((await asFetcher(kernel.edges(), [...args], given)).exitCode, 6);
  assert.match(far.notes.join(), /not a command of root/);
});

test('runs no command if systemd does not listen', async (t) => {
  const kernel = await TestKernel.make();
  t.after(() => kernel.remove());
  const given = { env: {}, signal: never, note: () => {} };
  await assert.rejects(asFetcher(kernel.edges(), ['fetcher-once'], given), code('fetcher-unreachable'));
});
