export type { StatusDocument } from './decide/document.ts';
export { AgentError, type AgentErrorCode, type ExitCode, exitCodes } from './error.ts';
export type { CommandResult } from './service/orders.ts';
export { AGENT_VERSION } from './version.ts';
