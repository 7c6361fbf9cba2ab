import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KmendError } from '@kmend/base';
import { createLog } from '../log.ts';
import { createTerminal } from './terminal.ts';
import { historyText } from './text.ts';

const EVIL = 'x\x1b[2J\x9b31m\u202ey\r\x07\u2066z';
const UNFIT = /[\p{Cc}\p{Cf}]/u;

function screen(json: boolean) {
  const said = { out: '', err: '' };
  const streams = {
    out: { write: (text: string) => (said.out += text) },
    err: { write: (text: string) => (said.err += text) },
  };
  return { terminal: createTerminal(streams, json), said };
}

test('writes no terminal control characters in results, notes, errors and the fetcher’s messages', () => {
  for (const json of [false, true]) {
    const { terminal, said } = screen(json);
    terminal.result({ name: EVIL }, ({ name }) => name);
    terminal.note(EVIL);
    terminal.raw(json ? JSON.stringify({ name: EVIL }) : EVIL);
    terminal.error(new KmendError('server-refused', EVIL, { hint: EVIL, details: { of: EVIL } }));
    assert.doesNotMatch((said.out + said.err).replaceAll('\n', ''), UNFIT, `json: ${json}`);
  }
});

test('keeps the meaning of the fetcher’s JSON', () => {
  const { terminal, said } = screen(true);
  terminal.raw(JSON.stringify({ name: EVIL }));
  assert.deepEqual(JSON.parse(said.out), { name: EVIL });
});

test('writes an event of the journal and a line of the log as one line each', () => {
  const event = { number: 1, at: '2026-11-02T00:00:00Z', code: 'failed', message: 'a\n2026-11-02 all is well' };
  assert.equal(historyText({ events: [event] }).split('\n').length, 1);
  let log = '';
  createLog((line) => (log += line), 'debug', false)('info', 'said', { by: EVIL, list: [EVIL] });
  assert.doesNotMatch(log.trimEnd(), UNFIT);
});
