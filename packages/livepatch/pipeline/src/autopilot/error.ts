import { KmendError } from '@kmend/base';

export type AutopilotErrorCode = 'autopilot-config' | 'autopilot-running' | 'autopilot-aside';

export class AutopilotError extends KmendError<AutopilotErrorCode> {}
