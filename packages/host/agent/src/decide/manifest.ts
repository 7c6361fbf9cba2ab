import { parseJson } from '@kmend/base';
import { Livepatch, manifestPath } from '@kmend/protocol';
import type { Edges } from '../edges/edges.ts';
import { paths } from '../edges/paths.ts';

const MAX_MANIFEST = 16 * 1024 * 1024;

/**
 * The description of a livepatch that the loader verified, for showing only; `undefined` where it is not in the
 * loader's cache any more.
 */
export async function readManifest(edges: Edges, buildId: string, serial: number): Promise<Livepatch | undefined> {
  const text = await edges.files.text(`${paths.repository}/targets/${manifestPath(buildId, serial)}`, MAX_MANIFEST);
  if (text === undefined) return undefined;
  const parsed = Livepatch.safeParse(parseJson(text));
  return parsed.success ? parsed.data : undefined;
}
