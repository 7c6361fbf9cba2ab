import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { picture } from './picture.ts';

test('docs/agent.md has the diagram that the code generates', async () => {
  const document = await readFile(new URL('../../../../../docs/agent.md', import.meta.url), 'utf8');
  const shown = /```mermaid\n(stateDiagram-v2[\s\S]*?)\n```/.exec(document)?.[1];
  assert.equal(shown, picture(), `docs/agent.md has to show this:\n${picture()}`);
});
