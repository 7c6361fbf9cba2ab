import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assembled } from '../testing/gcc.ts';
import { addressUse } from './address-use.ts';
import { ObjectView } from './view.ts';

/** Instructions that name `x`, in AT&T's order, and what they do with it; of `taken` also the register. */
const USES: readonly (readonly [text: string, kind: string, register?: number])[] = [
  ['movq $x, 0x20(%rbx)', 'stored'],
  ['movq $x, 0x20(%r12)', 'stored'],
  ['movq $x, (%rdi,%rax,8)', 'stored'],
  ['movq $x, y(%rip)', 'stored'],
  ['movq $x, 8(%rsp)', 'taken'],
  ['movq $x, %rsi', 'taken', 6],
  ['movq $x, %r9', 'taken', 9],
  ['mov $x, %edi', 'taken', 7],
  ['mov $x, %r8d', 'taken', 8],
  ['movabs $x, %rdx', 'taken', 2],
  ['lea x(%rip), %rcx', 'taken', 1],
  ['lea x(,%rax,8), %r8', 'taken', 8],
  ['add $x, %rax', 'taken'],
  ['push $x', 'taken'],
  ['mov x(,%rax,8), %rdx', 'operand'],
  ['mov x+4(%rip), %eax', 'operand'],
  ['mov %eax, x(%rdi)', 'operand'],
  ['cmpq $1, x(%rip)', 'operand'],
  ['cmpq $x, 0x18(%rdi)', 'compared'],
  ['cmp $x, %rax', 'compared'],
  ['call x', 'branch'],
  ['jmp x', 'branch'],
  ['jne x', 'branch'],
];

test('recognises what an instruction does with the place that it names', async () => {
  const code = USES.map(
    ([text], index) =>
      `.section .text.f${index},"ax"\n.type f${index},@function\nf${index}: nop\n${text}\nret\n.size f${index}, . - f${index}\n`,
  );
  const view = new ObjectView(await assembled(code.join('')), new Map());
  for (const [index, [text, kind, register]] of USES.entries()) {
    const atom = view.functions.find(({ symbol }) => symbol?.name === `f${index}`);
    assert.ok(atom !== undefined, text);
    const reference = view.referencesIn(atom).find(({ target }) => target.symbol.name === 'x');
    assert.ok(reference !== undefined, text);
    assert.deepEqual(addressUse(view, atom, reference), register === undefined ? { kind } : { kind, register }, text);
  }
});
