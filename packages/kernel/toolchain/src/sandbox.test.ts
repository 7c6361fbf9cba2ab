import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { errorCode, type Run } from '@kmend/base';
import { limitedRun, run, runOk } from '@kmend/base/node';
import { type Sandbox, sandboxed } from './sandbox.ts';

const MIB = 1 << 20;

async function world(t: TestContext): Promise<{ readonly directory: string; readonly sandbox: Sandbox }> {
  const directory = await mkdtemp(join(tmpdir(), 'kmend-sandbox-'));
  t.after(() => rm(directory, { recursive: true }));
  await mkdir(join(directory, 'tree'));
  await writeFile(join(directory, 'tree', 'file'), 'seen\n');
  await writeFile(join(directory, 'secret'), 'not seen\n');
  await writeFile(join(directory, 'output'), '');
  const readOnly = [join(directory, 'tree')];
  return { directory, sandbox: { root: '/', system: 'compiler', readOnly, writable: [join(directory, 'output')] } };
}

const sh = (sandbox: Sandbox, script: string, options = {}): ReturnType<Run> =>
  sandboxed(limitedRun, sandbox)('sh', ['-c', script], { timeoutMs: 60_000, ...options });

test('shows a tool only its inputs', async (t) => {
  const { directory, sandbox } = await world(t);
  const seen = await sh(sandbox, `cat ${directory}/tree/file; echo ${directory}/*; echo /*`);
  assert.deepEqual(seen.stdout.toString().split('\n').slice(0, 2), ['seen', `${directory}/output ${directory}/tree`]);
  for (const path of [
    `${directory}/secret`,
    '/etc/passwd',
    '/etc/hostname',
    '/root',
    '/home',
    '/proc/self/environ',
    '/sys/kernel',
    '/usr/include/stdio.h',
    '/usr/local/bin',
    '/dev/stdin',
    '/dev/zero',
    '/run',
    '/var/lib/dpkg/status',
  ]) {
    // /root is there where a folder that is seen lies in it, and empty else.
    const { exitCode, stdout } = await sh(sandbox, `ls -A ${path}`);
    assert.ok(exitCode !== 0 || stdout.length === 0, `${path}: ${stdout}`);
  }
});

test('lets a tool write only to its output files and its temporary folder', async (t) => {
  const { directory, sandbox } = await world(t);
  const written = await sh(sandbox, `echo done >${directory}/output; echo kept >/tmp/x; cat /tmp/x`);
  assert.deepEqual([written.exitCode, written.stdout.toString()], [0, 'kept\n'], written.stderr);
  assert.equal(await readFile(join(directory, 'output'), 'utf8'), 'done\n');
  // A folder that only holds what is seen is the sandbox's own.
  await sh(sandbox, `echo x >${directory}/x`);
  for (const path of ['/x', '/usr/bin/x', `${directory}/tree/file`, `${directory}/tree/x`])
    assert.notEqual((await sh(sandbox, `echo x >${path}`)).exitCode, 0, path);
  assert.equal(await readFile(join(directory, 'tree', 'file'), 'utf8'), 'seen\n');
  assert.deepEqual((await readdir(directory)).sort(), ['output', 'secret', 'tree']);
});

test('gives a tool no network, no environment or processes of the operator, and no capabilities', async (t) => {
  const { sandbox } = await world(t);
  const server = createServer((_, response) => response.end('reached'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  const asked = `exec 3<>/dev/tcp/127.0.0.1/${address.port} && echo reached`;
  assert.equal((await run('bash', ['--norc', '-c', asked])).stdout.toString(), 'reached\n');
  process.env['KMEND_TEST_TOKEN'] = 'secret';
  t.after(() => delete process.env['KMEND_TEST_TOKEN']);
  for (const system of ['build', 'checker'] as const) {
    const confined = sandboxed(limitedRun, { ...sandbox, system });
    const said = async (...words: string[]): Promise<string> =>
      (await runOk(confined, words[0] ?? '', words.slice(1))).toString();
    assert.equal((await confined('bash', ['--norc', '-c', asked])).stdout.toString(), '');
    assert.doesNotMatch(await said('env'), /KMEND_TEST_TOKEN|SSH|HOME=\/root/);
    const status = await said('grep', '-E', '^(CapEff|CapBnd|NoNewPrivs)', '/proc/self/status');
    assert.match(status, /CapEff:\s+0+\n[\s\S]*CapBnd:\s+0+\n[\s\S]*NoNewPrivs:\s+1\n/);
    const processes = (await said('sh', '-c', 'echo /proc/[0-9]*')).trim().split(' ');
    assert.ok(processes.length <= 3, processes.join());
    // objtool looks there for the end of its stack.
    assert.match(await said('cat', '/proc/self/maps'), /\[stack\]/);
    // What root may write there outside: a program that runs at the next crash of any process.
    const write = await confined('sh', ['-c', 'cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern']);
    assert.notEqual(write.exitCode, 0);
  }
});

test('ends a tool that does not end, or prints or writes without end, at a limit, and leaves nothing', async (t) => {
  const { directory, sandbox } = await world(t);
  const limits = { fileSize: MIB, cpuSeconds: 1, memory: 512 * MIB };
  const rejects = async (code: string, script: string, options: object): Promise<void> => {
    await assert.rejects(sh(sandbox, script, options), (error) => errorCode(error) === code, script);
  };
  await rejects('tool-timeout', 'sleep 66 & setsid sleep 66', { timeoutMs: 500 });
  await rejects('tool-limit', 'while :; do :; done', { limits });
  await rejects('tool-limit', `yes >${directory}/output`, { limits });
  await rejects('output-too-large', 'yes', { maxOutput: MIB });
  assert.ok((await stat(join(directory, 'output'))).size <= MIB);
  const filled = await sh(
    sandbox,
    'i=0; while cp /usr/lib/gcc/x86_64-linux-gnu/12/cc1 /tmp/$i; do i=$((i + 1)); done; echo $i',
  );
  assert.match(filled.stderr, /No space left/);
  assert.ok(Number(filled.stdout.toString()) <= 50, filled.stdout.toString());
  await new Promise((resolve) => setTimeout(resolve, 200));
  const left = (await run('ps', ['-eo', 'args'])).stdout.toString();
  assert.doesNotMatch(left, /^(?:sleep 66|yes)$/m);
});

test('stops a tool that starts processes without end, also as root', async (t) => {
  const { sandbox } = await world(t);
  const bomb = 'f() { f | f & }; f; sleep 30';
  const begin = Date.now();
  await assert.rejects(sh(sandbox, bomb), (error) => errorCode(error) === 'tool-limit');
  assert.ok(Date.now() - begin < 25_000);
  // Its control group goes, once the last of them is gone.
  for (let left = 100; left > 0 && groups().length > 0; left--)
    await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(groups(), []);
});

function groups(): string[] {
  const parents = ['/sys/fs/cgroup/pids', '/sys/fs/cgroup'].filter((path) => existsSync(path));
  return parents.flatMap((path) => readdirSync(path)).filter((name) => name.startsWith(`kmend-${process.pid}-`));
}

test('runs programs of the given root', async (t) => {
  const { directory, sandbox } = await world(t);
  const root = join(directory, 'root');
  await mkdir(join(root, 'usr', 'bin'), { recursive: true });
  for (const name of ['lib', 'lib64']) {
    await mkdir(join(root, 'usr', name));
    await run('sh', ['-c', `ln -s usr/${name} ${root}/${name}`]);
  }
  await run('sh', ['-c', `ln -s usr/bin ${root}/bin`]);
  await runOk(run, 'sh', [
    '-c',
    `cp /usr/bin/prlimit /usr/bin/dash ${root}/usr/bin && cp -L --parents $(ldd /usr/bin/prlimit /usr/bin/dash | grep -o '/[^ ]*so[^ ]*' | sort -u) ${root}/`,
  ]);
  const confined = sandboxed(limitedRun, { ...sandbox, root });
  assert.equal(
    (await runOk(confined, 'dash', ['-c', 'echo /usr/bin/*'])).toString(),
    '/usr/bin/dash /usr/bin/prlimit\n',
  );
  await assert.rejects(confined('gcc-12', ['--version']), (error) => errorCode(error) === 'tool-missing');
});

test('runs nothing if nothing can confine it', async (t) => {
  const { sandbox } = await world(t);
  // Neither root's rights nor user namespaces, as in most containers.
  const without: Run = (file, args, options) => {
    const script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all "$@"';
    return run('unshare', ['--user', '--map-root-user', 'sh', '-c', script, 'sh', file, ...args], options);
  };
  const missing: Run = (file, args, options) =>
    limitedRun(
      file === 'bwrap' ? 'no-such-bwrap' : file,
      args.map((word) => (word === 'bwrap' ? 'no-such-bwrap' : word)),
      options,
    );
  for (const runner of [without, missing]) {
    await assert.rejects(sandboxed(runner, sandbox)('sh', ['-c', 'echo ran']), (error) => {
      assert.equal(errorCode(error), 'sandbox-unavailable', String(error));
      return true;
    });
  }
});
