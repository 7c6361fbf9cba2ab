import { paths } from '../edges/paths.ts';
import type { TestKernel } from './kernel.ts';

/** Leaves on a host what root's side keeps of an enrolled machine that is not this one. */
export async function enrolOther(kernel: TestKernel): Promise<void> {
  const host = {
    schema: 'kmend.agent-host/1',
    hostId: '2d0a0f5e-8c1d-4a53-9a43-1a9fd7b2c5aa',
    channel: 'stable',
    machine: 'ab'.repeat(32),
  };
  await kernel.write(paths.host, JSON.stringify(host));
}
