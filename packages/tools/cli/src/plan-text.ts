import { shownLine } from '@kmend/base';
import type { KeyChange, RoleChange, SigningPlan } from '@kmend/trust';

const SIGN = { kept: ' ', added: '+', removed: '-' } as const;

/**
 * What is about to be signed, for the person whose key signs it: each key of each role that is touched, and each
 * role's new version.
 */
export function planText({ keys, roles }: SigningPlan): string {
  const changed = new Set(keys.filter(({ change }) => change !== 'kept').map(({ role }) => role));
  const touched = new Set([...changed, ...roles.map(({ role }) => role)]);
  const shown = keys.filter(({ role }) => touched.has(role));
  return [
    changed.size === 0 ? 'to be signed; no key changes:' : 'to be signed:',
    ...roles.map(roleText),
    ...shown.map(
      ({ role, keyId, change }: KeyChange) => `  ${SIGN[change]} key of ${shownLine(role)}  ${shownLine(keyId)}`,
    ),
  ].join('\n');
}

function roleText({ role, from, to, expires, added, dropped, floor }: RoleChange): string {
  const more = [
    ...(added.length === 0 ? [] : [`adds serial ${added.join(', ')}`]),
    ...(dropped.length === 0 ? [] : [`DROPS serial ${dropped.join(', ')}`]),
    ...(floor === undefined ? [] : [floor === null ? 'no floor any more' : `floor: serial ${floor}`]),
  ];
  const version = from === null ? `new, version ${to}` : `version ${from} -> ${to}`;
  return `    ${shownLine(role)}: ${[version, `holds until ${expires}`, ...more].join('; ')}`;
}
