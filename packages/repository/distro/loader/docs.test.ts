import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { packageCodes } from '@kmend/rules';
import { rulesText } from './rules.ts';

/** docs/packages.md against the scripts: nothing that a host can say or take is left out. */
const here = import.meta.dirname;
const document = readFileSync(join(here, '../../../../docs/packages.md'), 'utf8');
const part = (name: string): string => readFileSync(join(here, 'parts', `${name}.sh`), 'utf8');
const parts = readdirSync(join(here, 'parts')).map((it) => it.replace(/\.sh$/, ''));
const scripts = parts.map(part).join('\n');

/** What stands in backticks in the first cells of all table rows of a text, and at the beginning of its list items. */
function explained(text: string): string[] {
  const rows = text.split('\n').map((line) => /^\| ?([^|]*)\||^- ((?:`[^`]+`(?:, )?)+):/.exec(line));
  const cells = rows.map((row) => row?.[1] ?? row?.[2] ?? '');
  return cells.flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, word = '']) => word));
}

const codes: readonly string[] = Object.keys(packageCodes);
const [, table = ''] = document.split('## Codes');

test('documents exactly the codes that exist', () => {
  assert.ok(codes.length > 30);
  assert.deepEqual(explained(table).sort(), [...codes].sort());
});

test('marks each retried code in the page', () => {
  const passing = Object.entries(packageCodes).flatMap(([code, { weight }]) => (weight === 'passing' ? code : []));
  for (const line of table.split('\n').filter((it) => it.startsWith('| `'))) {
    const [word = ''] = explained(line);
    assert.equal(line.includes('**again**'), passing.includes(word), line);
  }
});

test('uses no code that is not in the list', () => {
  const said = [...scripts.matchAll(/(?:problem|die|quarantine "\$\w+"|code=)\s?'?([a-z]+-[a-z-]+)/g)].map(
    ([, code = '']) => code,
  );
  assert.ok(said.length > 20);
  assert.deepEqual(
    [...new Set(said)].filter((it) => !codes.includes(it)),
    [],
  );
});

test('documents every command, exit code, key of the configuration and unit', () => {
  const [, names = ''] = /^ {4}(sync \| .*)\) ;;$/m.exec(part('commands')) ?? [];
  const words = explained(document);
  const commands = names.split(' | ');
  assert.ok(commands.length > 8);
  for (const word of [...commands, ...readdirSync(join(here, 'units'))]) assert.ok(words.includes(word), word);
  for (const option of ['--package', '--boot', '--json', '--over MODULE', '--until-boot'])
    assert.ok(document.includes(`\`${option}`), option);
  for (const code of [0, 1, 2, 3, 5, 6, 130]) assert.match(document, new RegExp(`^\\| ${code} \\|`, 'm'));
  for (const key of ['wait', 'soak', 'take-back', 'depth'])
    assert.match(document, new RegExp(`\`/etc/kmend-livepatch/config\` .*\`${key}\``));
});

test('contains the generated part that the tables give', () => {
  assert.equal(part('rules'), rulesText(), 'script/check --fix writes it again');
});

test('loads every part, and every shell can read it', () => {
  const program = readFileSync(join(here, 'bin/kmend-livepatch'), 'utf8');
  const [, loaded = ''] = /^for part in (.*); do$/m.exec(program) ?? [];
  assert.deepEqual(loaded.split(' ').sort(), [...parts].sort());
  for (const name of parts) {
    for (const shell of [['/bin/dash'], ['/bin/busybox', 'sh'], ['/bin/bash', '--posix']]) {
      const [file = '', ...before] = shell;
      execFileSync(file, [...before, '-n', join(here, 'parts', `${name}.sh`)]);
    }
  }
});
