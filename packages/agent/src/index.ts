export type { StatusDocument } from './agent/status.ts';
export { AgentError, type AgentErrorCode, type ExitCode, exitCodes } from './error.ts';
export type { CommandResult } from './service/orders.ts';
export { AGENT_VERSION } from './version.ts';
