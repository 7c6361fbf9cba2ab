import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentError } from '../error.ts';
import { createTerminal } from './terminal.ts';

test('nothing of what a server or the fetcher says is obeyed by a terminal, and JSON stays what it says', () => {
  const active = '\u001b[2J\u009b1m\u202egood\u2028\u0007\r';
  const said: string[] = [];
  const stream = { write: (text: string) => said.push(text) };
  for (const json of [false, true]) {
    const terminal = createTerminal({ out: stream, err: stream }, json);
    terminal.result({ text: active }, (it) => it.text);
    terminal.note(active);
    terminal.raw(active);
    terminal.error(new AgentError('server-refused', active, { hint: active }));
    const [document = ''] = said;
    if (json) assert.deepEqual(JSON.parse(document), { text: active });
    const all = said.splice(0).join('');
    for (const character of new Set(active.replace(/[\x20-\x7e]/g, ''))) assert.ok(!all.includes(character), all);
    assert.match(all, /\\u001b\[2J/);
  }
});
