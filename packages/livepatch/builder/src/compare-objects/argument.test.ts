import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ObjectView } from '../object/view.ts';
import { assembled } from '../testing/gcc.ts';
import { type Argument, argumentOf } from './argument.ts';

/** Of `mov $1,%edi` in front of these instructions and a call. */
async function argument(...between: readonly string[]): Promise<Argument | undefined> {
  const lines = ['.text', '.globl f', '.type f,@function', 'f:', 'mov $1,%edi', ...between, 'call report', 'ret'];
  const view = new ObjectView(await assembled(`${lines.join('\n')}\n.size f,.-f\n`), new Map());
  const [atom] = view.functions;
  assert.ok(atom !== undefined);
  return argumentOf(view, atom, atom.start);
}

test('follows an argument past instructions that leave its register alone', async () => {
  const found = { register: 7, callee: 'report' };
  for (const line of [
    'mov %r8d,0x20(%rsp)',
    'mov %r10b,0x30(%rsp)',
    'mov 0x8(%rax),%cl',
    'mov %cl,%r9b',
    'mov %sil,%al',
  ])
    assert.deepEqual(await argument(line), found, line);
});

test('takes an instruction for one that changes the register if it may be', async () => {
  for (const line of ['mov %al,%dil', 'mov %dil,%al', 'mov (%rdi),%al', 'mov %bh,%al', 'mov %al,%ch', 'cpuid'])
    assert.equal(await argument(line), undefined, line);
});
