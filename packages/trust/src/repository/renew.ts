import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '@kmend/base';
import type { RenewRequest } from '@kmend/protocol';
import { Metadata, MetadataKind, type Root, type Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import type { SigningKey } from '../keys/key.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { expiry, signedText } from '../metadata/signing.ts';
import { kernelOfRole } from './kernel-role.ts';
import type { RepositoryState } from './state.ts';

type Offline = Metadata<Root> | Metadata<Targets>;

/**
 * Signs root, targets and every kernel role again, unchanged but for version and expiry: the operator's yearly duty.
 * Throws `key-wrong`.
 */
export async function signRenewal(
  state: RepositoryState,
  keys: { readonly root: SigningKey; readonly release: SigningKey },
  clock: Clock,
): Promise<RenewRequest> {
  for (const [role, key] of [
    ['root', keys.root],
    ['targets', keys.release],
  ] as const) {
    if (state.root.signed.roles[role]?.keyIDs.includes(key.id)) continue;
    throw new TrustError('key-wrong', `the key at hand is not the one this repository’s root names for ${role}`, {
      hint: 'use the keys that were made with this repository',
    });
  }
  const root = Metadata.fromJSON(MetadataKind.Root, again(state.root, expiry('root', clock)));
  const targets = (metadata: Metadata<Targets>): string =>
    signedText(Metadata.fromJSON(MetadataKind.Targets, again(metadata, expiry('targets', clock))), keys.release);
  const metadata: Record<string, string> = {
    root: signedText(root, keys.root),
    targets: targets(state.targets),
  };
  for (const [name, role] of await kernelRoles(state)) metadata[name] = targets(role);
  return { metadata };
}

function again(metadata: Offline, expires: string) {
  return { signatures: [], signed: { ...metadata.signed.toJSON(), version: metadata.signed.version + 1, expires } };
}

async function kernelRoles(state: RepositoryState): Promise<Map<string, Metadata<Targets>>> {
  const roles = new Map<string, Metadata<Targets>>();
  for (const name of Object.keys(state.targets.signed.delegations?.roles ?? {})) {
    const role = kernelOfRole(name) === undefined ? undefined : await state.role(name);
    if (role !== undefined) roles.set(name, role);
  }
  return roles;
}

/**
 * Verifies a renewal: signatures, versions one above the last, a later expiry, and nothing else different. Keys cannot be
 * changed this way.
 */
export async function verifyRenewal(state: RepositoryState, request: RenewRequest, clock: Clock): Promise<void> {
  const kernels = await kernelRoles(state);
  for (const [name, text] of Object.entries(request.metadata)) {
    const before = name === 'root' ? state.root : name === 'targets' ? state.targets : kernels.get(name);
    if (before === undefined)
      throw new TrustError('publication-invalid', `this repository has no offline role ${name}`);
    const after = parseMetadata(name === 'root' ? 'root' : 'targets', text, name, 'publication-invalid');
    try {
      (kernels.has(name) ? state.targets : state.root).verifyDelegate(name, after);
    } catch (cause) {
      throw new TrustError('publication-unsigned', `${name} is not signed by the key this repository trusts for it`, {
        cause,
      });
    }
    if (after.signed.version !== before.signed.version + 1) {
      throw new TrustError('publication-outdated', `${name} has version ${after.signed.version}, not the next one`, {
        hint: 'something was published meanwhile: renew again',
      });
    }
    if (after.signed.isExpired(clock.now()) || !isDeepStrictEqual(body(before), body(after))) {
      throw new TrustError('publication-invalid', `a renewal may only extend ${name}, not change it`);
    }
  }
}

function body({ signed }: Offline): unknown {
  return { ...signed.toJSON(), version: undefined, expires: undefined };
}
