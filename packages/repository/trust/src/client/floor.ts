import { kernelRole, modulePath } from '@kmend/protocol';
import { parseMetadata } from '../metadata/metadata.ts';
import { signedLivepatches, signedTerms } from '../repository/kernel-role.ts';
import type { Session } from './transaction.ts';

/**
 * The serial below which policy may not keep hosts of a kernel, and what is published for it: both signed with the
 * release key. `undefined` where there is no floor.
 */
export async function readFloor(
  { updater, read }: Session,
  buildId: string,
): Promise<{ readonly floor: number; readonly published: ReadonlySet<number> } | undefined> {
  // Has tuf-js verify the role of this path, as the snapshot names it (specification 1.0.34, section 5.6); there is no
  // serial 0.
  await updater.getTargetInfo(modulePath(buildId, 0));
  const name = kernelRole(buildId);
  const targets = parseMetadata('targets', (await read('targets.json')) ?? '', 'targets', 'cache-mismatch');
  if (targets.signed.delegations?.roles?.[name] === undefined) return undefined;
  const role = parseMetadata('targets', (await read(`${name}.json`)) ?? '', name, 'cache-mismatch');
  const { floor } = signedTerms(role);
  return floor === undefined ? undefined : { floor, published: new Set(signedLivepatches(role, buildId).keys()) };
}
