import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '@kmend/base';
import { kernelRole, modulePath, POLICY_PATTERN, POLICY_ROLE, type RotateRequest } from '@kmend/protocol';
import type { Metadata, Root, Targets } from '@tufjs/models';
import { TrustError } from '../error.ts';
import { ONLINE_ROLES, type OnlineKeys } from '../keys/store.ts';
import { parseMetadata } from '../metadata/metadata.ts';
import { isOverlong } from '../metadata/signing.ts';
import { kernelDelegation, kernelOfRole, signedLivepatches, signedTerms } from './kernel-role.ts';
import { namedOnlineKeys } from './online.ts';
import type { RepositoryState } from './state.ts';

/** A rotation whose every signature was verified. */
export interface AcceptedRotation {
  /** Text of the next root, where it brings one. */
  readonly root: string | undefined;
  /** Texts of the other roles. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The online keys that count from here on. */
  readonly keys: OnlineKeys;
  /** Serials that are dropped, by build id. */
  readonly dropped: ReadonlyMap<string, readonly number[]>;
}

/**
 * Verifies offline roles that were signed again: each signed as the root and targets that will be in force demand, one
 * version up, nothing added; the online roles' keys are ones that this server has, now (`current`) or in waiting
 * (`next`). Throws `publication-unsigned`, `publication-outdated`, `publication-invalid`, `key-wrong`.
 */
export async function verifyRotation(
  state: RepositoryState,
  request: RotateRequest,
  { current, next }: { readonly current: OnlineKeys; readonly next: Partial<OnlineKeys> },
  clock: Clock,
): Promise<AcceptedRotation> {
  const { root: rootText, targets: targetsText, ...kernels } = request.metadata;
  const root = rootText === undefined ? state.root : nextRoot(state.root, rootText, clock);
  const targets = targetsText === undefined ? state.targets : nextTargets(state, root, targetsText, clock);
  checkSigned(root, 'targets', targets);
  const dropped = new Map<string, readonly number[]>();
  for (const name of Object.keys(kernels)) {
    if (state.targets.signed.delegations?.roles?.[name] === undefined || kernelOfRole(name) === undefined)
      throw new TrustError('publication-invalid', `this repository has no offline role ${name}`);
  }
  for (const name of Object.keys(targets.signed.delegations?.roles ?? {})) {
    const buildId = kernelOfRole(name);
    const before = buildId === undefined ? undefined : await state.role(name);
    if (buildId === undefined || before === undefined) continue;
    const text = kernels[name];
    const after = text === undefined ? before : nextKernel(before, name, text, clock);
    checkSigned(targets, name, after);
    const gone = [...signedLivepatches(before, buildId).keys()].filter(
      (it) => !signedLivepatches(after, buildId).has(it),
    );
    if (gone.length > 0) dropped.set(buildId, gone);
  }
  return {
    root: rootText,
    metadata: { ...(targetsText === undefined ? {} : { targets: targetsText }), ...kernels },
    keys: chosenKeys(root, targets, current, next),
    dropped,
  };
}

function nextRoot(before: Metadata<Root>, text: string, clock: Clock): Metadata<Root> {
  const after = parseMetadata('root', text, 'root', 'publication-invalid');
  checkFollows('root', before, after, clock);
  // Specification 1.0.34, section 5.3.4: by the keys of the one before it, and by its own.
  for (const signer of [before, after]) checkSigned(signer, 'root', after);
  const { roles, consistentSnapshot } = after.signed;
  const same = isDeepStrictEqual(Object.keys(roles).sort(), Object.keys(before.signed.roles).sort());
  if (!same || !consistentSnapshot || Object.values(roles).some((role) => role.threshold !== 1)) {
    throw new TrustError('publication-invalid', 'the next root may name other keys and hold longer, nothing else');
  }
  return after;
}

function nextTargets(state: RepositoryState, root: Metadata<Root>, text: string, clock: Clock): Metadata<Targets> {
  const after = parseMetadata('targets', text, 'targets', 'publication-invalid');
  checkFollows('targets', state.targets, after, clock);
  const release = root.signed.roles['targets']?.keyIDs ?? [];
  const delegations = after.signed.delegations?.roles ?? {};
  const names = (of: Metadata<Targets>): string[] => Object.keys(of.signed.delegations?.roles ?? {}).sort();
  const fits =
    isDeepStrictEqual(names(after), names(state.targets)) &&
    Object.keys(after.signed.targets).length === 0 &&
    Object.entries(delegations).every(([name, role]) => {
      const buildId = kernelOfRole(name);
      const expected = buildId === undefined ? policyDelegation(role.keyIDs) : kernelDelegation(buildId, role.keyIDs);
      return isDeepStrictEqual(role.toJSON(), expected);
    });
  if (!fits) {
    throw new TrustError('publication-invalid', 'the next targets may name other keys and hold longer, nothing else');
  }
  for (const [name, role] of Object.entries(delegations)) {
    if (kernelOfRole(name) === undefined || role.keyIDs.every((id) => release.includes(id))) continue;
    throw new TrustError('publication-invalid', `${name} must be signed by the release key`);
  }
  return after;
}

function policyDelegation(keyIds: readonly string[]) {
  return { name: POLICY_ROLE, keyids: [...keyIds], threshold: 1, paths: [POLICY_PATTERN], terminating: true };
}

/** Livepatches may go, with all their files, and none come; the floor may move to one that stays. */
function nextKernel(before: Metadata<Targets>, name: string, text: string, clock: Clock): Metadata<Targets> {
  const after = parseMetadata('targets', text, name, 'publication-invalid');
  checkFollows(name, before, after, clock);
  const buildId = kernelOfRole(name) ?? '';
  const stays = (path: string): boolean => after.signed.targets[modulePath(buildId, serialOf(path))] !== undefined;
  const expected = Object.fromEntries(Object.entries(before.signed.targets).filter(([path]) => stays(path)));
  const equal =
    isDeepStrictEqual(Object.keys(after.signed.targets).sort(), Object.keys(expected).sort()) &&
    Object.entries(expected).every(([path, target]) => after.signed.targets[path]?.equals(target));
  if (!equal || after.signed.delegations !== undefined) {
    throw new TrustError('publication-invalid', `${name} may lose livepatches, and change none`);
  }
  const { floor, lastSerial } = signedTerms(after);
  const left = signedLivepatches(after, buildId);
  if (floor !== undefined && !left.has(floor)) {
    throw new TrustError('publication-invalid', `the floor of ${name} is serial ${floor}, which it does not sign`);
  }
  const highest = Math.max(0, ...signedLivepatches(before, buildId).keys(), signedTerms(before).lastSerial ?? 0);
  if (Math.max(0, ...left.keys(), lastSerial ?? 0) < highest) {
    throw new TrustError('publication-invalid', `${name} does not record that serial ${highest} was used`);
  }
  return after;
}

function serialOf(path: string): number {
  return Number(path.split('/')[2]);
}

function chosenKeys(
  root: Metadata<Root>,
  targets: Metadata<Targets>,
  current: OnlineKeys,
  next: Partial<OnlineKeys>,
): OnlineKeys {
  const named = namedOnlineKeys(root, targets);
  const chosen = { ...current };
  for (const role of ONLINE_ROLES) {
    const key = [current[role], next[role]].find((it) => it !== undefined && named[role][0] === it.id);
    if (key === undefined || named[role].length !== 1) {
      throw new TrustError('key-wrong', `the ${role} key that would count is none that this server has`, {
        hint: 'another rotation runs at the same time, or the server was restored meanwhile: rotate again',
        details: { role, named: named[role] },
      });
    }
    chosen[role] = key;
  }
  return chosen;
}

function checkSigned(
  delegator: Metadata<Root> | Metadata<Targets>,
  name: string,
  after: Metadata<Root | Targets>,
): void {
  try {
    delegator.verifyDelegate(name, after);
  } catch (cause) {
    throw new TrustError('publication-unsigned', `${name} is not signed by the key this repository trusts for it`, {
      cause,
    });
  }
}

function checkFollows(
  name: string,
  before: Metadata<Root | Targets>,
  after: Metadata<Root | Targets>,
  clock: Clock,
): void {
  if (after.signed.version !== before.signed.version + 1) {
    throw new TrustError('publication-outdated', `${name} has version ${after.signed.version}, not the next one`, {
      hint: 'something was published meanwhile: sign again',
    });
  }
  const role = name.startsWith(kernelRole('')) ? 'kernel' : name === 'root' ? 'root' : 'targets';
  if (after.signed.isExpired(clock.now()) || isOverlong(role, after.signed.expires, clock)) {
    throw new TrustError('publication-invalid', `${name} is signed to hold until ${after.signed.expires}`, {
      hint: 'check the clock of the machine that signed it, and of the server',
    });
  }
}
