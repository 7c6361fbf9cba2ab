import { fileURLToPath } from 'node:url';

/** The operator's command, as a user of a checkout runs it. */
export const KMEND = fileURLToPath(new URL('../bin/kmend', import.meta.url));
