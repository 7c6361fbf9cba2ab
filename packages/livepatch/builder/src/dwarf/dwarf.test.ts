import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { type ElfFile, SHF_COMPRESSED } from '@kmend/elf';
import { pairScopes, type Scope } from '../compare/types/scope.ts';
import { elfOf, linkedOf } from '../testing/gcc.ts';
import { missingDwarf, readDwarf } from './index.ts';

const TEXT = `
struct inner { int a; int b; };
typedef struct { unsigned long bits[2][3]; } mask_t;
enum state { IDLE = -1, READY, WIDE = 0x100000000 };
struct whole {
  char tag; unsigned first : 3; unsigned second : 7; long wide : 40;
  union { int small; struct { short low; short high; }; };
  struct inner in[4]; mask_t mask; enum state state;
  const volatile struct whole *next; int (*call)(struct whole *, int, ...); int open[];
};
struct whole *kept; mask_t masks[7];
static inline int part(struct inner *i) { return i->a + kept->in[1].b; }
int use(struct whole *w) { enum state s = w->state; return s == READY ? part(w->in) : w->second; }
`;

/** What the psABI makes of it: byte and bit of each member, its size and type. */
const WHOLE = [
  '0+8 tag: char',
  '8+3 first: unsigned int',
  '11+7 second: unsigned int',
  '18+40 wide: long int',
  '64+32 small: int',
  '64+16 low: short int',
  '80+16 high: short int',
  '96+256 in: struct inner [4]',
  '384+384 mask: mask_t',
  '768+64 state: enum state',
  '832+64 next: struct whole *',
  '896+64 call: int (struct whole *, int, ...) *',
  '960+0 open: int []',
];

function scopeOf(file: ElfFile): Scope {
  const dwarf = readDwarf(file);
  assert.ok(dwarf !== undefined);
  const [[scope] = []] = pairScopes(dwarf, dwarf);
  assert.ok(scope !== undefined);
  return scope;
}

function members(scope: Scope, name: string): string[] {
  const entry = scope.aggregates.get(name);
  assert.ok(entry !== undefined, `${name} is not there`);
  return scope.reader.layout(entry).members.map(({ bit, bits, path, type }) => `${bit}+${bits} ${path}: ${type}`);
}

const VARIANTS = [
  '-gdwarf-2 -gstrict-dwarf',
  '-gdwarf-3 -gstrict-dwarf',
  '-gdwarf-4 -gstrict-dwarf',
  '-gdwarf-4',
  '-gdwarf-5',
  '-gdwarf-4 -fdebug-types-section',
  '-gdwarf-5 -fdebug-types-section',
  '-gdwarf-5 -gdwarf64',
  '-gdwarf-4 -gdwarf64',
  '-gdwarf-4 -gz=zlib',
  '-gdwarf-5 -gz=zlib',
  '-gdwarf-5 -fno-merge-debug-strings',
];

for (const flags of VARIANTS) {
  test(`reads types, functions and variables from ${flags}`, async () => {
    const scope = scopeOf(await elfOf(TEXT, flags.split(' ')));
    assert.deepEqual(members(scope, 'struct whole'), WHOLE);
    assert.deepEqual(members(scope, 'mask_t'), ['0+384 bits: long unsigned int [2][3]']);
    assert.equal(scope.name, 'unit.c');
    assert.ok(['use', 'part'].every((name) => scope.functions.has(name)));
    assert.ok(['kept', 'masks'].every((name) => scope.variables.has(name)));
    const entry = scope.aggregates.get('struct whole');
    assert.ok(entry !== undefined);
    assert.equal(scope.dwarf.declarationFile(entry), 'unit.c');
  });
}

test('names source files of other directories with them', async () => {
  const text =
    '#line 1 "include/linux/list.h"\nstruct list { int count; };\n#line 1 "fs/unit.c"\nint use(struct list *l) { return l->count; }';
  for (const flags of ['-gdwarf-3', '-gdwarf-4', '-gdwarf-5']) {
    const scope = scopeOf(await elfOf(text, [flags]));
    const entry = scope.aggregates.get('struct list');
    assert.ok(entry !== undefined);
    assert.equal(scope.dwarf.declarationFile(entry), 'include/linux/list.h', flags);
    assert.deepEqual([scope.isOwn('fs/unit.c', entry), scope.isOwn('linux/list.h', entry)], [false, true]);
  }
});

test('distinguishes linked units, and pairs them by name', async () => {
  const file = await linkedOf(
    [
      ['one.c', 'struct item { int a; }; int one(struct item *i) { return i->a; }'],
      ['two.c', 'struct item { long b; }; long two(struct item *i) { return i->b; }'],
    ],
    ['-g'],
  );
  const dwarf = readDwarf(file);
  assert.ok(dwarf !== undefined);
  const scopes = pairScopes(dwarf, dwarf).map(([scope]) => scope);
  assert.deepEqual(
    scopes.map((scope) => [scope.name, ...members(scope, 'struct item')]),
    [
      ['one.c', '0+32 a: int'],
      ['two.c', '0+64 b: long int'],
    ],
  );
});

test('reads a section compressed with zstd', async () => {
  const file = await elfOf(TEXT, ['-g']);
  // The strings have no relocations, so that they can be packed here.
  const strings = file.sections.find(({ name }) => name === '.debug_str');
  assert.ok(strings !== undefined);
  const header = Buffer.alloc(24);
  header.writeUInt32LE(2, 0);
  header.writeBigUInt64LE(BigInt(strings.data.length), 8);
  strings.data = Buffer.concat([header, zstdCompressSync(strings.data)]);
  strings.flags |= SHF_COMPRESSED;
  assert.deepEqual(members(scopeOf(file), 'struct whole'), WHOLE);
});

test('says what to do for objects without debug information of their own', async () => {
  const bare = await elfOf(TEXT);
  assert.equal(readDwarf(bare), undefined);
  assert.match(missingDwarf(bare), /no debug information.*compile with -g/);
  for (const version of ['-gdwarf-4', '-gdwarf-5']) {
    const split = await elfOf(TEXT, [version, '-gsplit-dwarf']);
    assert.equal(readDwarf(split), undefined);
    assert.match(missingDwarf(split), /\.dwo.*without -gsplit-dwarf/);
  }
  const old = await elfOf(TEXT, ['-g', '-Wa,--compress-debug-sections=zlib-gnu']);
  assert.equal(readDwarf(old), undefined);
  assert.match(missingDwarf(old), /\.zdebug_info/);
});
