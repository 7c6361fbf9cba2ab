import type { HostStatus } from '@kmend/protocol';

/** What is known of a host that has enrolled and not reported yet: nothing. */
export function initialStatus(): HostStatus {
  const axis = { state: 'unknown', since: null, seen: null } as const;
  return { contact: axis, coverage: axis, loaded: axis, transition: axis, verified: axis };
}
