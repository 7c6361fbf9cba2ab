import { idleCheck } from './idle.ts';

process.exitCode = await idleCheck();
