import { AgentError } from '../error.ts';

export function assertRoot(uid: number | undefined): void {
  if (uid === 0) return;
  throw new AgentError('not-root', 'kmend-agent needs root', { hint: 'run it with sudo' });
}
