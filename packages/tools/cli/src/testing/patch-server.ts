import { type Cleanup, type PatchServer as Server, patchServer as serve } from '@kmend/harness/servers';
import type { Register } from '../program.ts';
import { runKmend, type Said } from './run.ts';

export type PatchServer = Server<Said>;

/** A real patch server on loopback with a home of its own, and `kmend` with some of its commands in this process. */
export function patchServer(t: Cleanup, commands: readonly Register[]): Promise<PatchServer> {
  return serve(t, (env, ...argv) => runKmend(commands, env, ...argv));
}
