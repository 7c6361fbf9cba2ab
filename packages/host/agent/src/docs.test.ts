import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { failureKind, TrustError, type TrustErrorCode } from '@kmend/trust';
import { commands } from './cli/program.ts';
import { events } from './codes.ts';
import { Config } from './config/schema.ts';
import { paths } from './edges/paths.ts';
import { exitCodes } from './error.ts';
import { transitions } from './state/transitions.ts';

/** docs/agent.md and docs/operations.md against the code: nothing that a host can say or take is left out. */
const agent = await document('agent');
const operations = await document('operations');

function document(name: string): Promise<string> {
  return readFile(new URL(`../../../../docs/${name}.md`, import.meta.url), 'utf8');
}

/** The members of a union of strings as the source has it: types are gone when the code runs. */
async function union(file: string, type: string): Promise<string[]> {
  const source = await readFile(new URL(file, import.meta.url), 'utf8');
  const body = new RegExp(`type ${type} =([^;]+);`).exec(source)?.[1] ?? '';
  return [...body.matchAll(/^ {2}\| '([^']+)'/gm)].map(([, member]) => member ?? '');
}

/** The first cells of all table rows, and what list items begin with, without backticks: `a`, `b` count as two. */
function explained(text: string): Set<string> {
  const rows = text.split('\n').map((line) => /^\| ?([^|]*)\||^- ((?:`[^`]+`(?:, )?)+)/.exec(line));
  const cells = rows.map((row) => row?.[1] ?? row?.[2] ?? '');
  return new Set(cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word]) => word ?? '')));
}

function missing(words: readonly string[], there: Pick<Set<string>, 'has'>): string[] {
  assert.ok(words.length > 3, 'nothing was found to look for');
  return words.filter((word) => !there.has(word));
}

test('explains every error code, the repository’s included', async () => {
  const own = await union('error.ts', 'AgentErrorCode');
  const trust = (await union('../../../repository/trust/src/error.ts', 'TrustErrorCode')) as TrustErrorCode[];
  const met = trust.filter((code) => failureKind(new TrustError(code, '')) !== 'local');
  const local = ['not-found', 'not-cached', 'cache-mismatch', 'root-unusable'];
  const [, table = ''] = agent.split('## Codes and ways out');
  assert.deepEqual(missing([...own, ...met, ...local], explained(table)), []);
});

test('explains every reason for doing nothing, every state and every transition', async () => {
  const reasons = await union('decide/decide.ts', 'Reason');
  const states = Object.values(transitions).flatMap(({ from }) => [...from]);
  const words = [...new Set([...reasons, ...states, ...Object.keys(transitions)])];
  assert.deepEqual(missing(words, explained(agent)), []);
});

test('explains every event of the journal', () => {
  assert.deepEqual(missing(Object.keys(events), { has: (code) => agent.includes(`\`${code}\``) }), []);
});

test('lists every key of the configuration with its default', () => {
  const defaults: Record<string, unknown> = Config.parse({ server: 'https://kmend.example.org' });
  assert.deepEqual(missing(Object.keys(Config.shape), explained(agent)), []);
  for (const [key, value] of Object.entries(defaults)) {
    if (key === 'server') continue;
    const cells =
      agent
        .split('\n')
        .find((line) => line.startsWith(`| \`${key}\` |`))
        ?.split('|') ?? [];
    const wanted = Array.isArray(value) && value.length === 0 ? 'none' : String(value);
    assert.equal(cells.at(-2)?.trim(), wanted, key);
  }
});

test('names every command and every option', () => {
  const options = Object.values(commands).flatMap((command) => Object.keys(command.options));
  assert.deepEqual(missing(Object.keys(commands), { has: (name) => agent.includes(`\`${name}\``) }), []);
  assert.deepEqual(
    missing([...new Set(options)], { has: (name) => new RegExp(`--${name}(?![\\w-])`).test(agent) }),
    [],
  );
});

test('names every exit code, file and unit', async () => {
  for (const code of Object.values(exitCodes)) assert.match(agent, new RegExp(`^\\| ${code} \\|`, 'm'));
  const words = Object.values(paths);
  assert.deepEqual(missing(words, { has: (path) => agent.includes(`\`${path}\``) }), []);
  const files = await readdir(new URL('package/files/', import.meta.url));
  const units = files.filter((name) => /\.(service|socket)$/.test(name));
  assert.deepEqual(missing(units, explained(agent)), []);
});

test('links between the two documents lead somewhere', () => {
  const anchors = (text: string): Set<string> =>
    new Set([...text.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => anchorOf(title)));
  const known = { agent: anchors(agent), operations: anchors(operations) };
  for (const [name, text] of Object.entries({ agent, operations })) {
    for (const [, file, anchor = ''] of text.matchAll(/\]\((?:(agent|operations)\.md)?#([^)]+)\)/g)) {
      const target = file ?? name;
      assert.ok(known[target as keyof typeof known].has(anchor), `${name}.md: ${target}.md#${anchor}`);
    }
  }
});

function anchorOf(title: string): string {
  return title
    .toLowerCase()
    .replace(/[^\w\s-]/g, '')
    .replace(/\s/g, '-');
}

/** Code of a document that is written for a shell, without the indentation of its list item. */
function scripts(text: string): string[] {
  const blocks = [...text.matchAll(/^( *)```sh\n([\s\S]*?)^ *```$/gm)];
  return blocks.map(([, indent = '', body = '']) => body.replaceAll(new RegExp(`^${indent}`, 'gm'), ''));
}

test('contains only valid shell in shell blocks', () => {
  const all = [...scripts(agent), ...scripts(operations)];
  assert.ok(all.length > 20);
  for (const script of all) execFileSync('/bin/sh', ['-n'], { input: script, stdio: ['pipe', 'ignore', 'inherit'] });
});

test('maps each exit code to Nagios’ code and a line of text in the monitoring check', async (t) => {
  const script = scripts(operations).find((it) => it.startsWith('#!/bin/sh'));
  assert.ok(script !== undefined);
  const directory = await mkdtemp(join(tmpdir(), 'kmend-docs-'));
  t.after(() => rm(directory, { recursive: true, force: true }));
  const sudo = join(directory, 'sudo');
  for (const [status, code, text] of [
    [0, 0, 'KMEND OK: livepatch   serial 7'],
    [1, 2, 'KMEND CRITICAL: livepatch   serial 7'],
    [2, 1, 'KMEND WARNING: livepatch   serial 7'],
    [3, 2, 'KMEND CRITICAL: livepatch   serial 7'],
    [4, 3, 'KMEND UNKNOWN: livepatch   serial 7'],
    [5, 2, 'KMEND CRITICAL: kmend-agent: not enrolled'],
  ] as const) {
    const said = status === 5 ? 'kmend-agent: not enrolled' : 'kernel      6.1\\nlivepatch   serial 7';
    await writeFile(
      sudo,
      `#!/bin/sh\n[ "$*" = "-n /usr/bin/kmend-agent status" ] || exit 99\nprintf '${said}\\n'\nexit ${status}\n`,
    );
    await chmod(sudo, 0o755);
    const found = await shell(script, `${directory}:${process.env['PATH']}`);
    assert.deepEqual(found, { code, text: `${text}\n` });
  }
});

function shell(script: string, path: string): Promise<{ code: number; text: string }> {
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', script], { env: { PATH: path } }, (error, text) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, text });
    });
  });
}
