import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { run } from '@kmend/base/node';
import { type CompileOptions, compiled } from '../testing/gcc.ts';
import { compareObjects } from './compare-objects.ts';
import type { ObjectComparison } from './model.ts';

const directory = await mkdtemp(join(tmpdir(), 'kmend-compare-lines-'));
after(() => rm(directory, { recursive: true, force: true }));

async function compare(before: string, patched: string, options: CompileOptions = {}): Promise<ObjectComparison> {
  const paths = [join(directory, 'before'), join(directory, 'patched')] as const;
  for (const [index, text] of [before, patched].entries())
    await writeFile(paths[index] ?? '', await compiled(text, { layout: 'joined', ...options }));
  return await compareObjects({ run, signal: new AbortController().signal }, { original: paths[0], patched: paths[1] });
}

/** What moved, with its lines, and the names of what changed. */
function told({ functions, data }: ObjectComparison): unknown {
  const moved = [functions, data].flatMap(({ lineMoved }) =>
    lineMoved.map(({ name, line }) => `${name} ${line.original}-${line.patched}`),
  );
  return { moved, changed: [functions, data].flatMap(({ changed }) => changed.map(({ name }) => name)) };
}

const KERNEL = `
void __might_sleep(const char *, int); void warn_slowpath_fmt(const char *, int, unsigned, const char *, ...);
void __ext4_error(void *, const char *, unsigned, int, int, unsigned long, const char *, ...);
void printk(const char *, ...); void work(int); void *sb; int shared;
#define might_sleep() __might_sleep("unit.c", __LINE__)
#define BUG(flags) asm volatile("1: ud2\\n.pushsection __bug_table,\\"aw\\"\\n2: .long 1b - .\\n .long %c0 - .\\n .word %c1\\n .word %c2\\n .org 2b+12\\n.popsection" :: "i" ("unit.c"), "i" (__LINE__), "i" (flags))
`;

/** The functions with \`lines\` empty ones above them. */
const moving = (body: string, lines: number): string => `${KERNEL}\n#line ${10 + lines} "unit.c"\n${body}`;

const MOVES: Readonly<Record<string, string>> = {
  'a might_sleep()': 'void f(int a) { might_sleep(); work(a); }',
  'a warning of the slow path':
    'void f(int a) { if (a > 2) warn_slowpath_fmt("unit.c", __LINE__, 9, "large %d", a); work(a); }',
  'a line that is the third argument':
    'void f(int a) { if (a) __ext4_error(sb, __func__, __LINE__, 0, 117, 0, "bad %d", a); }',
  'an entry of the bug table': 'void f(int a) { work(1); BUG(2305); work(a); }',
  'a line that is made early, with stores, shifts and small operands behind it':
    'extern short small; void f(int a) { asm volatile("mov %0, %%esi\\n mov %%ax, small\\n shl $4, %%r8\\n shl %%cl, %%ebp\\n mov $0, %%edi\\n call __might_sleep" :: "i" (__LINE__) : "memory"); work(a); }',
  'a line of the last call':
    'void consist(void *, const char *, const char *, unsigned) asm("gfs2_consist_inode_i"); void f(int a) { void *kept = sb; work(a); work(a + 1); consist(kept, __func__, "unit.c", __LINE__); }',
  'a warning out of line':
    'void f(int a) { if (__builtin_expect(a > 2, 0)) { warn_slowpath_fmt("unit.c", __LINE__, 9, 0); shared = 1; work(7); } work(a); }',
  'all of them':
    'void f(int a) { might_sleep(); BUG(1); if (a) warn_slowpath_fmt("unit.c", __LINE__, 9, 0); work(a); }',
};

for (const [what, body] of Object.entries(MOVES)) {
  for (const layout of ['joined', 'separate'] as const) {
    test(`takes ${what} that moved for no change (${layout})`, async () => {
      const comparison = await compare(moving(body, 0), moving(body, 3), { layout });
      assert.deepEqual(told(comparison), { moved: ['f 10-13'], changed: [] });
      assert.deepEqual([comparison.verdict, comparison.functions.same, comparison.reasons], ['unchanged', 0, []]);
    });

    test(`takes ${what} that moved beside a change as part of it (${layout})`, async () => {
      const comparison = await compare(
        moving(body, 0),
        moving(body, 3).replace('work(a)', 'work(a + 1)').replace('117', '118'),
        { layout },
      );
      assert.deepEqual(told(comparison), { moved: [], changed: ['f'] });
    });
  }
}

const NO_LINES: Readonly<Record<string, readonly [before: string, after: string]>> = {
  'a number that another function takes': [`work(10);`, `work(13);`],
  'another argument of a function that takes a line': [
    'warn_slowpath_fmt("unit.c", 10, 9, "text");',
    'warn_slowpath_fmt("unit.c", 10, 10, "text");',
  ],
  'a line that is used otherwise too': [
    'register int line asm("rsi") = 10; asm volatile("" : "+r" (line)); printk("a"); __might_sleep("unit.c", line);',
    'register int line asm("rsi") = 13; asm volatile("" : "+r" (line)); printk("a"); __might_sleep("unit.c", line);',
  ],
  'a value that is stored on its way': [
    'int line = 10; asm volatile("mov %0, shared" : : "S" (line)); __might_sleep("unit.c", line);',
    'int line = 13; asm volatile("mov %0, shared" : : "S" (line)); __might_sleep("unit.c", line);',
  ],
  'a number that shifts on its way': [
    'asm volatile("mov $10, %ecx\\n shl %cl, %edx\\n call gfs2_consist_i");',
    'asm volatile("mov $13, %ecx\\n shl %cl, %edx\\n call gfs2_consist_i");',
  ],
  'half a number': [
    'asm volatile("mov $10, %si\\n call __might_sleep");',
    'asm volatile("mov $13, %si\\n call __might_sleep");',
  ],
  'the file that a line is of': ['__might_sleep("unit.c", 10);', '__might_sleep("other.c", 13);'],
  'the flags of a warning': ['BUG(1);', 'BUG(9);'],
};

for (const [what, [before, after]] of Object.entries(NO_LINES)) {
  test(`takes ${what} for a change`, async () => {
    const body = (text: string): string => `${KERNEL}\n#line 10 "unit.c"\nvoid f(int a) { ${text} work(a); }`;
    assert.deepEqual(told(await compare(body(before), body(after))), { moved: [], changed: ['f'] });
  });
}

const SHIFTS =
  'int values[8]; int f(int i, int s) { work(s); return values[i] << s; } int g(int i) { return values[i]; }';

for (const layout of ['joined', 'separate'] as const) {
  test(`ignores where a check of UBSAN stands, and reports what it checks (${layout})`, async () => {
    const options: CompileOptions = { layout, flags: ['-fsanitize=bounds,shift'] };
    const comparison = await compare(moving(SHIFTS, 0), moving(SHIFTS, 3), options);
    assert.deepEqual(told(comparison), { moved: ['f 10-13', 'g 10-13'], changed: [] });
    assert.deepEqual([comparison.verdict, comparison.reasons], ['unchanged', []]);
    const wider = moving(SHIFTS, 3).replace('values[i] << s', 'values[i] << (short)s');
    assert.deepEqual(told(await compare(moving(SHIFTS, 0), wider, options)), { moved: ['g 10-13'], changed: ['f'] });
  });
}

test('ignores where memory was allocated', async () => {
  const tagged = (lines: number, flags = 0): string => `${KERNEL}
    struct tag { unsigned flags, lineno; const char *modname, *function, *filename; void *counters; };
    void *allocate(struct tag *);
    void *f(void) { static struct tag _alloc_tag __attribute__((section("alloc_tags"), used)) = { ${flags}, ${10 + lines}, 0, "f", "unit.c" }; return allocate(&_alloc_tag); }`;
  const comparison = await compare(tagged(0), tagged(3));
  assert.deepEqual([comparison.verdict, comparison.data.lineMoved.length], ['unchanged', 1]);
  assert.equal((await compare(tagged(0), tagged(0, 1))).verdict, 'refused');
});
