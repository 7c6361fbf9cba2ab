import { AgentError } from '../error.ts';

export function assertRoot(uid: number | undefined): void {
  if (uid === 0) return;
  throw new AgentError('not-root', 'only root may ask the agent', { hint: 'run it with sudo' });
}
