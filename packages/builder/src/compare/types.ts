import type { Run } from '@kmend/base';
import { runOk } from '@kmend/base/node';
import type { Reason } from '../types.ts';

/**
 * Compares the layout of every struct and union that both objects describe in their DWARF. Instances of a changed one may be alive in
 * the running kernel, made by old code: refused.
 */
export async function compareTypes(
  run: Run,
  source: string,
  original: string,
  patched: string,
  signal: AbortSignal,
): Promise<Reason[]> {
  const [before, after] = await Promise.all([layouts(run, original, signal), layouts(run, patched, signal)]);
  const reasons: Reason[] = [];
  for (const [name, layout] of before) {
    const now = after.get(name);
    if (now === undefined || now === layout) continue;
    const message = `the patch changes the layout of ${name}, of which the running kernel may have instances`;
    reasons.push({ code: 'type-layout-changed', verdict: 'refused', message, source, symbol: name });
  }
  return reasons;
}

/** Named structs and unions as pahole prints them. */
async function layouts(run: Run, object: string, signal: AbortSignal): Promise<Map<string, string>> {
  const text = (await runOk(run, 'pahole', [object], { signal, maxOutput: 256 << 20 })).toString('utf8');
  const found = new Map<string, string>();
  for (const block of text.split(/^(?=(?:struct|union) )/m)) {
    const name = /^((?:struct|union) \w+) \{/.exec(block)?.[1];
    if (name !== undefined)
      found.set(
        name,
        block.replaceAll(/\/\*.*?\*\//g, (comment) => (/\d/.test(comment) ? comment : '')),
      );
  }
  return found;
}
