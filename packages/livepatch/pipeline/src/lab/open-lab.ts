import { join } from 'node:path';
import { Lab } from '@kmend/lab';
import type { Workshop } from '../workshop.ts';

/** A lab on this machine, with what it makes in the workshop's cache. The caller closes it. */
export function openLab({ edges, cache, systems }: Pick<Workshop, 'edges' | 'cache' | 'systems'>): Lab {
  const { run, clock, progress, signal } = edges;
  return new Lab({ run, clock, progress, signal, cache: join(cache, 'lab'), systems });
}
