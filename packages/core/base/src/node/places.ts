import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where kmend keeps things on an operator's machine (XDG base directory specification). */
export interface Places {
  /** Can be fetched or built again: packages, kernel store, prepared trees, objects, lab roots. `KMEND_CACHE`. */
  readonly cache: string;
  /** Cannot: fixes, keys, the server's data. `KMEND_HOME`. */
  readonly home: string;
}

export function places(env: Readonly<Record<string, string | undefined>> = process.env): Places {
  return {
    cache: env['KMEND_CACHE'] ?? join(env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'kmend'),
    home: env['KMEND_HOME'] ?? join(env['XDG_DATA_HOME'] ?? join(homedir(), '.local', 'share'), 'kmend'),
  };
}
