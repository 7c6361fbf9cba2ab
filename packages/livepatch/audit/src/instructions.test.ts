import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run, runOk } from '@kmend/base/node';
import { readElf } from '@kmend/elf';
import { decode, decodeAt } from './instructions.ts';

/** Forms that kernels have, beside what the compiler makes of C. */
const ASSEMBLER = `
  lock cmpxchg16b (%rdi); xadd %eax,(%rsi,%rcx,4); movabs $0x1122334455667788,%r10; mov %gs:0x28,%rax
  push $0x12345678; push $1; imul $0x1000,%rax,%rbx; test $0x100,%eax; testb $1,(%rdi); cmpw $0x1234,0x10(%rax)
  movzbl 0x12345678(,%r12,8),%edx; mov %rax,0x100(%r13); lea 0(%r12),%rdi; jmp *%rax; call *0x18(%rdi)
  ud2; ud1 (%rax),%eax; pause; rep stosb; rdtsc; rdmsr; swapgs; clac; stac; endbr64; int3; iretq; sysretq
  shld $3,%rax,%rbx; bt $5,%rax; bswap %r9; cmovne %rax,%rbx; sete %al; popcnt %rax,%rbx; crc32q (%rdi),%rax
  movdqa (%rdi),%xmm0; pshufd $1,%xmm0,%xmm1; aeskeygenassist $1,%xmm0,%xmm1; vpxor %ymm0,%ymm1,%ymm2
  vzeroupper; vpalignr $4,%xmm1,%xmm2,%xmm3; vpaddd 0x40(%rdi),%zmm1,%zmm2; andn %rax,%rbx,%rcx; nopw 0x0(%rax,%rax,1)
  jmp .+200; jne .+300; enter $8,$1; movsbw 5(%rax),%cx; invlpg (%rdi); xrstor (%rdi); verw 4(%rsp); mov $0x1234,%ax; addr32 call .+5; lea (%esp),%esp
`;
const TEXT = `
int other(int), table[64]; unsigned long long big(unsigned long long x) { return x * 0x123456789abcdefULL + (x >> 7) % 1000003; }
int walk(int *p, int n) { int s = 0; for (int i = 0; i < n; i++) { if (p[i] & 0x8000) s += table[p[i] & 63]; else s -= other(p[i]); } return s; }
int choose(int x) { switch (x) { case 0: return other(7); case 1: return 9; case 2: return table[3]; case 3: return x << 9; case 9: return 4; } return __builtin_bswap32(x); }
void exchange(long *a, long *b) { __sync_fetch_and_add(a, 5); __sync_bool_compare_and_swap(b, 1, 2); __atomic_store_n(a, 0, 5); }
double half(double x) { return x / 2; }
`;

test('begins instructions where objdump does', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kmend-audit-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text, flags] of [
    ['a.s', `.text\n${ASSEMBLER}`, []],
    ['c.c', TEXT, ['-O2', '-mcmodel=kernel', '-fno-pic']],
  ] as const) {
    const object = join(folder, `${name}.o`);
    await writeFile(join(folder, name), text);
    await runOk(run, 'gcc', [...flags, '-c', '-o', object, join(folder, name)]);
    const listing = (await runOk(run, 'objdump', ['-d', '-w', '-j', '.text', object])).toString();
    const wanted = Array.from(listing.matchAll(/^ +([0-9a-f]+):\t/gm), ([, at = '']) => Number.parseInt(at, 16));
    const code = readElf(await readFile(object)).sections.find((section) => section.name === '.text')?.data;
    assert.deepEqual(
      decode(code ?? new Uint8Array(0))?.map(({ at }) => at),
      wanted,
      name,
    );
    assert.ok(wanted.length > 40);
  }
});

test('finds operands, and reads nothing that is no instruction', () => {
  assert.deepEqual(decodeAt(Uint8Array.from([0x48, 0x8b, 0x05, 1, 0, 0, 0]), 0)?.memory, {
    at: 3,
    size: 4,
    base: 'rip',
    indexed: false,
  });
  assert.deepEqual(decodeAt(Uint8Array.from([0x0f, 0x84, 0, 0, 0, 0]), 0)?.relative, { at: 2, size: 4 });
  for (const bytes of [[0x06], [0xe8, 0, 0], [0xd6], [0xea], []])
    assert.equal(decodeAt(Uint8Array.from(bytes), 0), undefined);
});
