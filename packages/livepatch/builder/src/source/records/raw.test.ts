import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changedRecords, withRecordsOf } from './raw.ts';

const HEADER = `#ifndef _LINUX_UNIT_H
#define _LINUX_UNIT_H
/* struct one { is told here. */
struct one {
	int a; /* } */
#ifdef CONFIG_SMP
	int b;
#endif
#define ONE_FLAG	1
	int c;
};
#if IS_ENABLED(CONFIG_NET)
struct two {
	struct inner { int d; } e;
};
#endif
#ifdef MODULE
struct three { int f; };
#endif
#define DECLARE(name) \\
struct four { \\
	int name; \\
};
#ifdef CONFIG_SMP
struct five { int g; };
#else
struct five { long g; };
#endif
typedef struct six { int h; } six_t;
#endif
`;

/** Tags whose definition a change of the header changes. */
function changed(from: string, to: string): string[] {
  assert.ok(HEADER.includes(from), from);
  return changedRecords(HEADER, HEADER.replace(from, to));
}

test('finds a definition with its conditions, and ignores remarks in it', () => {
  assert.deepEqual(changed('int b;', 'int b; int fresh;'), ['one']);
  assert.deepEqual(changed('int d;', 'int d; int fresh;'), ['two']);
  assert.deepEqual(changed('/* } */', '/* } ; */'), []);
  assert.deepEqual(changed('int c;', '#line 9\n\tint c;'), []);
});

test('ignores a definition that another unit may have differently', () => {
  assert.deepEqual(changed('int f;', 'int f; int fresh;'), []);
  assert.deepEqual(changed('int name;', 'int name; int fresh;'), []);
  assert.deepEqual(changed('int g;', 'int g; int fresh;'), []);
  assert.deepEqual(changed('int h;', 'int h; int fresh;'), []);
  // Only one state asks for it.
  assert.deepEqual(changed('int c;', 'int c;\n#ifdef MODULE\n\tint fresh;\n#endif\n'), []);
});

test('keeps all other changes in a text with the records of another state', () => {
  const after = HEADER.replace('int c;', 'int c; int fresh;').replace('struct three', 'int new(void);\nstruct three');
  const expected = HEADER.replace('struct three', 'int new(void);\nstruct three');
  assert.equal(withRecordsOf(HEADER, after, new Set(['one'])), expected);
  assert.equal(withRecordsOf(HEADER, after, new Set()), after);
});
