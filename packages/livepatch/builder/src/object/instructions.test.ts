import assert from 'node:assert/strict';
import { test } from 'node:test';
import { branchTarget, decodeInstruction } from './instructions.ts';

/** Bytes as the assembler writes them for the text; the field relative to the end at `field`, if there is one. */
const INSTRUCTIONS: readonly (readonly [text: string, bytes: string, field?: number])[] = [
  ['ret', 'c3'],
  ['call rel32', 'e800000000', 1],
  ['addr32 call rel32', '67e800000000', 2],
  ['jmp rel8', 'eb00', 1],
  ['jne rel32', '0f8500000000', 2],
  ['loop rel8', 'e200', 1],
  ['mov $imm32,%eax', 'b801000000'],
  ['mov $imm16,%ax', '66b80100'],
  ['movabs $imm64,%rax', '48b80100000000000000'],
  ['movabs moffs64,%al', 'a00000000000000000'],
  ['mov %rax,disp8(%rsp,%rbx,4)', '4889449c10'],
  ['mov disp32(,%rax,8),%rax', '488b04c500000000'],
  ['mov x(%rip),%rax', '488b0500000000', 3],
  ['movl $imm32,x(%rip)', 'c7050000000001000000', 2],
  ['cmpb $imm8,x(%rip)', '803d0000000001', 2],
  ['cmpw $imm16,x(%rip)', '66813d000000000100', 3],
  ['testb $imm8,(%rax)', 'f60001'],
  ['notb (%rax)', 'f610'],
  ['testl $imm32,(%rax)', 'f70001000000'],
  ['negl (%rax)', 'f718'],
  ['lock cmpxchg %rdx,(%rdi)', 'f0480fb117'],
  ['ud2', '0f0b'],
  ['ud1 disp8(%rax),%eax', '0fb94001'],
  ['endbr64', 'f30f1efa'],
  ['nopw cs:0(%rax,%rax,1)', '66662e0f1f840000000000'],
  ['mov %cr3,%rax', '0f20d8'],
  ['gs mov disp32,%rax', '65488b042500000000'],
  ['pshufb', '660f3800c1'],
  ['aeskeygenassist', '660f3adfc101'],
  ['vzeroupper', 'c5f877'],
  ['vpshufd $imm8', 'c5f970c001'],
  ['vpalignr $imm8,x(%rip)', 'c4e3710f050000000001', 5],
  ['vpaddd disp8 in EVEX', '62f1754 8fe4001'.replace(' ', '')],
  ['enter', 'c8010000'],
  ['ret $imm16', 'c20800'],
];

test('finds lengths of instructions, and their relative fields', () => {
  for (const [text, hex, field] of INSTRUCTIONS) {
    const bytes = Buffer.from(hex, 'hex');
    // More bytes follow: they must not count.
    const instruction = decodeInstruction(Buffer.concat([bytes, Buffer.alloc(16, 0x90)]), 0);
    assert.equal(instruction?.length, bytes.length, text);
    assert.equal(instruction?.relative?.offset, field, text);
  }
});

test('rejects bytes that are no instruction, or truncated', () => {
  for (const hex of [
    '06',
    '60',
    '0f04'.replace('04', '3f'),
    'e80000',
    '488b05',
    '',
    '666666666666666666666666666666c3',
  ]) {
    assert.equal(decodeInstruction(Buffer.from(hex, 'hex'), 0), undefined, hex);
  }
});

test('finds where branches lead', () => {
  assert.equal(branchTarget(Buffer.from('90ebfd', 'hex'), 1), 0);
  assert.equal(branchTarget(Buffer.from('e810000000', 'hex'), 0), 0x15);
  assert.equal(branchTarget(Buffer.from('488b0500000000', 'hex'), 0), undefined);
});
