import type { Reason } from '../types.ts';
import type { Call } from './calls.ts';
import { without } from './moves.ts';
import type { Side } from './side.ts';

/** Where memory comes from and goes back to; `kv` is either of `k` and `v` (mm/util.c, `kvmalloc_node`). */
type Pool = 'k' | 'v' | 'kv' | 'cache' | 'pages' | 'percpu';

const ALLOCATES: readonly (readonly [RegExp, Pool])[] = [
  [/^(?:kv[mz]alloc(?:_node)?|kvcalloc|kvmalloc_array|kvrealloc|kvmemdup|vmemdup_user)$/, 'kv'],
  [/^__?v[mz]alloc(?:_\w+)?$|^v[mz]alloc(?:_\w+)?$/, 'v'],
  [/^(?:k[mz]alloc(?:_node|_track_caller)?|kcalloc(?:_node)?|kmalloc_array(?:_node)?|krealloc(?:_array)?)$/, 'k'],
  [/^(?:kmemdup(?:_nul)?|kstrn?dup|kvasprintf|kasprintf|memdup_user(?:_nul)?|strndup_user)$/, 'k'],
  [/^kmem_cache_z?alloc(?:_node|_lru)?$/, 'cache'],
  [/^(?:__)?(?:alloc_pages?(?:_node)?|get_free_pages?|get_zeroed_page)$/, 'pages'],
  [/^(?:__)?alloc_percpu(?:_gfp)?$/, 'percpu'],
];
const FREES: readonly (readonly [RegExp, Pool])[] = [
  [/^kvfree(?:_\w+)?$/, 'kv'],
  [/^vfree(?:_atomic)?$/, 'v'],
  [/^kfree(?:_\w+)?$/, 'k'],
  [/^kmem_cache_free$/, 'cache'],
  [/^(?:__)?free_pages?$/, 'pages'],
  [/^free_percpu$/, 'percpu'],
];

/** kfree_skb() and its like free what has a kind of its own. */
const OWN_KIND = /^kfree_(?:skb|const|link|strarray)/;

/**
 * Functions that take memory from another allocator than before, or give it back to another: what they hand on is freed
 * by others, and what they free was allocated by others, also before the livepatch. Giving to kvfree() what went to
 * kfree() is right for both.
 */
export function memoryReasons(path: string, before: Side, after: Side): Reason[] {
  const changed = [...after.functions].flatMap((name) => {
    if (!before.has(name) || before.text(name) === after.text(name)) return [];
    const [old, now] = [before.callsOf(name), after.callsOf(name)];
    const calls = [...moved(old, now, ALLOCATES), ...moved(old, now, FREES)];
    return calls.length === 0 ? [] : [{ name, text: `${name} (${calls.join(', ')})` }];
  });
  const [first] = changed;
  if (first === undefined) return [];
  const list = changed.map(({ text }) => text).join(', ');
  const message =
    `the fix changes which allocator memory comes from or goes back to in ${list}; ` +
    `what frees it has to match, also where the livepatch does not change it, and also for memory from before`;
  return [{ code: 'memory-protocol', verdict: 'needs-review', message, source: path, symbol: first.name }];
}

/** The calls that went from one pool to another; none where calls of one pool only came, or only went. */
function moved(old: readonly Call[], now: readonly Call[], table: typeof ALLOCATES): string[] {
  const [before, after] = [pools(old, table), pools(now, table)];
  const [gone, come] = [without(before, after, textOf), without(after, before, textOf)];
  const [dropped, added] = [without(gone, come, poolOf), without(come, gone, poolOf)];
  if (dropped.length === 0 || added.length === 0) return [];
  const isWider = added.every(({ pool }) => pool === 'kv') && dropped.every(({ pool }) => pool === 'k' || pool === 'v');
  if (table === FREES && isWider) return [];
  return [...added.map(({ text }) => `+${text}`), ...dropped.map(({ text }) => `-${text}`)];
}

interface PoolCall {
  readonly pool: Pool;
  readonly text: string;
}

const textOf = ({ text }: PoolCall): string => text;
const poolOf = ({ pool }: PoolCall): string => pool;

function pools(calls: readonly Call[], table: typeof ALLOCATES): PoolCall[] {
  return calls.flatMap(({ name, text }) => {
    if (OWN_KIND.test(name)) return [];
    const [, pool] = table.find(([pattern]) => pattern.test(name)) ?? [];
    return pool === undefined ? [] : [{ pool, text }];
  });
}
