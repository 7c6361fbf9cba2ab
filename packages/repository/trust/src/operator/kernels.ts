import { modulePath } from '@kmend/protocol';
import type { Metadata, Targets } from '@tufjs/models';
import { kernelOfRole, signedLivepatches, signedTerms } from '../repository/kernel-role.ts';
import type { Operator } from './operator.ts';

/** A kernel's role as it is published. */
export interface PublishedKernel {
  readonly name: string;
  readonly buildId: string;
  readonly role: Metadata<Targets>;
  readonly floor: number | undefined;
  readonly livepatches: readonly {
    readonly serial: number;
    readonly id: string;
    /** Signed on this machine: its record has this very module under this serial. */
    readonly own: boolean;
  }[];
}

/** Every kernel of the repository, with what is published for it. */
export async function publishedKernels({ state, isOwn }: Operator): Promise<PublishedKernel[]> {
  const found: PublishedKernel[] = [];
  for (const name of Object.keys(state.targets.signed.delegations?.roles ?? {})) {
    const buildId = kernelOfRole(name);
    const role = buildId === undefined ? undefined : await state.role(name);
    if (buildId === undefined || role === undefined) continue;
    const livepatches = [...signedLivepatches(role, buildId)].map(([serial, { id }]) => {
      const module = role.signed.targets[modulePath(buildId, serial)]?.hashes['sha256'] ?? '';
      return { serial, id, own: isOwn(buildId, serial, module) };
    });
    found.push({ name, buildId, role, floor: signedTerms(role).floor, livepatches });
  }
  return found;
}
