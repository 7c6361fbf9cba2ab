/** What needs builds, the lab and the server. Apart from the rest, so that a build does not read all of it. */
export { AutopilotConfig, readAutopilotConfig } from './config.ts';
export { AutopilotError, type AutopilotErrorCode } from './error.ts';
export { runAutopilot } from './run.ts';
export { type AutopilotState, AutopilotStep, AutopilotStore, type SetAside } from './state.ts';
export type { AutopilotWork, Publisher } from './steps.ts';
