import { EdgeError, type EdgeErrorCode } from '@kmend/base/node';
import { TrustError, type TrustErrorCode } from '@kmend/trust';
import { AgentError, type AgentErrorCode } from './error.ts';
import type { Level } from './log.ts';

/** What the journal tells beside errors, each with the severity of its log line. docs/agent.md explains each. */
export const events = {
  'load-started': 'info',
  adopted: 'info',
  renumbered: 'info',
  loaded: 'info',
  'load-abandoned': 'info',
  'transition-complete': 'info',
  'transition-timeout': 'warn',
  replaced: 'info',
  good: 'info',
  'kernel-complaint': 'warn',
  'revert-started': 'info',
  reverted: 'info',
  crashed: 'warn',
  quarantined: 'warn',
  'went-down': 'warn',
  'handed-over': 'info',
  'hand-over-failed': 'warn',
  held: 'info',
  'hold-lifted': 'info',
  resumed: 'info',
  'consolidation-started': 'info',
  consolidated: 'info',
  'consolidation-ended': 'info',
  'journal-damaged': 'warn',
} as const satisfies Readonly<Record<string, Level>>;
export type EventCode = keyof typeof events;

/** Every code that an event of the journal has; journals of other versions may hold more. */
export type JournalCode = EventCode | AgentErrorCode | TrustErrorCode | EdgeErrorCode | 'internal';

/** What bars a load is worth a warning. */
export function severityOf(code: string): Level {
  return Object.hasOwn(events, code) ? events[code as EventCode] : 'warn';
}

/** The code of an error that the agent knows; of any other, which is a defect, `internal`. */
export function journalCode(error: unknown): JournalCode {
  const isKnown = error instanceof AgentError || error instanceof TrustError || error instanceof EdgeError;
  return isKnown ? error.code : 'internal';
}
