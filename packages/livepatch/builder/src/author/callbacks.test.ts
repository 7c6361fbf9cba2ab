import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SHN_UNDEF, STT_OBJECT, sectionOf } from '@kmend/elf';
import { type Change, compareUnit } from '../compare/compare.ts';
import { type Extracted, emit } from '../extract/emit.ts';
import { select } from '../extract/extract.ts';
import { addressKeptReasons } from '../extract/kept.ts';
import { authorHeader } from '../testing/author.ts';
import { objectOf } from '../testing/gcc.ts';
import { CALLBACKS_SECTION, declaredCallbacks } from './callbacks.ts';

const unit = { source: 'a/unit.c', object: 'vmlinux' };

const BASE = `
int printk(const char *, ...); int shared;
__attribute__((noinline)) int work(int a) { shared += a; return a; }
int other(int a) { printk("other"); return work(a); }
`;
const CALLBACKS = `
static int state;
static __attribute__((noinline)) void say(void) { printk("said %d", state++); }
static int before(struct klp_object *obj) { say(); return work(1); }
static void after(struct klp_object *obj) { say(); }
`;

interface Declared {
  readonly change: Change;
  readonly codes: readonly string[];
  readonly names: readonly string[];
  readonly extracted: Extracted;
}

async function declare(base: string, patched: string): Promise<Declared> {
  const old = await objectOf(base);
  const view = await objectOf(`${authorHeader}${patched}`);
  const change = compareUnit(unit, old, view);
  const { declared, reasons } = declaredCallbacks(unit, old, view);
  const atoms = declared.map(({ atom }) => atom);
  const selection = select(view, change, atoms);
  const extracted = emit(view, change, selection, 'alias_', declared);
  // The livepatch calls them itself: that their addresses are kept is no reason.
  const kept = addressKeptReasons(unit.source, view, change, selection);
  const codes = [...change.reasons, ...reasons, ...kept].map(({ code }) => code);
  return { change, codes, names: declared.map(({ name }) => name), extracted };
}

test('includes callbacks with what they need, without a changed function', async () => {
  const declaration = 'KMEND_CALLBACKS(one, .pre_patch = before, .post_unpatch = after);';
  const { change, codes, extracted } = await declare(BASE, `${BASE}${CALLBACKS}${declaration}`);
  assert.equal(change.changed.size, 0);
  assert.deepEqual(codes, ['callback-declared']);
  assert.deepEqual(extracted.callbacks, [{ name: 'one', phases: ['pre_patch', 'post_unpatch'], alias: 'alias_c0' }]);
  const { symbols } = extracted.file;
  const defined = symbols.filter(({ place, name }) => place !== SHN_UNDEF && name !== '').map(({ name }) => name);
  assert.deepEqual(defined.sort(), ['after', 'alias_c0', 'before', 'kmend_callbacks_one', 'say', 'state']);
  assert.deepEqual(extracted.needs.map(({ name }) => name).sort(), ['__fentry__', 'printk', 'work']);
  const alias = symbols.find(({ name }) => name === 'alias_c0');
  assert.ok(alias !== undefined);
  assert.deepEqual([alias.type, sectionOf(alias)?.name], [STT_OBJECT, CALLBACKS_SECTION]);
  const offsets = sectionOf(alias)?.relocations.map(({ offset }) => offset);
  assert.deepEqual(offsets, [0, 24]);
});

test('keeps several declarations of a file apart and in their order', async () => {
  const declarations = 'KMEND_CALLBACKS(zero, .post_patch = after);\nKMEND_CALLBACKS(one, .pre_unpatch = after);';
  const { extracted, names } = await declare(BASE, `${BASE}${CALLBACKS}${declarations}`);
  assert.deepEqual(names, ['zero', 'one']);
  assert.deepEqual(
    extracted.callbacks.map(({ phases }) => phases),
    [['post_patch'], ['pre_unpatch']],
  );
});

test('calls the new function from a callback of the same fix', async () => {
  const patched = `${BASE.replace('shared += a', 'shared -= a')}${CALLBACKS}KMEND_CALLBACKS(one, .pre_patch = before);`;
  const { change, extracted } = await declare(BASE, patched);
  assert.deepEqual(
    [...change.changed.keys()].map(({ key }) => key),
    ['work'],
  );
  assert.deepEqual(
    extracted.replacements.map(({ originalName }) => originalName),
    ['work'],
  );
  assert.ok(!extracted.needs.some(({ name }) => name === 'work'));
});

test('refuses a call of what exists only during start-up', async () => {
  const early = CALLBACKS.replace('static void after', 'static __attribute__((section(".init.text"))) void after');
  const { codes } = await declare(BASE, `${BASE}${early}KMEND_CALLBACKS(one, .post_patch = after);`);
  assert.deepEqual(codes, ['callback-unusable', 'callback-declared']);
});

test('leaves the callbacks of fixes below a stacked livepatch to their own livepatches', async () => {
  const below = `${BASE}${CALLBACKS}KMEND_CALLBACKS(one, .post_patch = after);`;
  const { names } = await declare(`${authorHeader}${below}`, `${below}KMEND_CALLBACKS(two, .post_patch = after);`);
  assert.deepEqual(names, ['two']);
});
