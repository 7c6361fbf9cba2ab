import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KmendError } from '@kmend/base';
import type { Register } from './program.ts';
import { createTerminal, table } from './terminal.ts';
import { runKmend } from './testing/run.ts';

/** Clears the screen, C1's CSI, turns the order round, forges a line. */
const EVIL = 'x\x1b[2J\x9b31m\u202ey\r\x07\u2066z';
const UNFIT = /[\p{Cc}\p{Cf}]/u;

const evil: Register = ({ program, action }) => {
  program.command('result').action(
    action(async ({ terminal }) => {
      terminal.progress.step(EVIL);
      terminal.note(EVIL);
      terminal.result({ name: EVIL }, ({ name }) => table(['NAME'], [[name], [`${name}\nsecond`]]));
    }),
  );
  program.command('fail').action(
    action(async () => {
      throw new KmendError('bad', `${EVIL}\nkmend: all is well`, { hint: EVIL, details: { of: EVIL } });
    }),
  );
};

test('cleans terminal control characters from every kind of output', async () => {
  for (const argv of [
    ['result'],
    ['result', '--json'],
    ['fail'],
    ['fail', '--json'],
    [EVIL],
    ['result', `--${EVIL}`],
  ]) {
    const { out, err } = await runKmend([evil], {}, ...argv);
    assert.doesNotMatch((out + err).replaceAll('\n', ''), UNFIT, argv.join(' '));
  }
});

test('keeps texts unchanged but escaped under --json', async () => {
  const { out } = await runKmend([evil], {}, 'result', '--json');
  assert.deepEqual(JSON.parse(out), { name: EVIL });
  const failed = JSON.parse((await runKmend([evil], {}, 'fail', '--json')).out);
  assert.deepEqual(failed.error.details, { of: EVIL });
});

test('keeps table cells and foreign messages from looking like lines of the command', async () => {
  const { out } = await runKmend([evil], {}, 'result');
  assert.equal(out.trimEnd().split('\n').length, 3);
  const { err } = await runKmend([evil], {}, 'fail');
  assert.doesNotMatch(err, /^kmend: all is well/m);
});

test('redraws the progress line on a terminal, and shows only its text', () => {
  let err = '';
  const streams = { out: { write: () => {} }, err: { isTTY: true, write: (text: string) => (err += text) } };
  const { progress, note } = createTerminal(streams, false);
  progress.step(EVIL);
  note('done');
  assert.doesNotMatch(err.replace('\r\x1b[K', '').replaceAll('\n', ''), UNFIT);
  assert.ok(err.endsWith('\r\x1b[Kdone\n'), 'the line is erased by the one sequence that is ours');
});
