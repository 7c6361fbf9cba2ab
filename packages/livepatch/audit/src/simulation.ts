import type { Loaded } from './loaded.ts';
import type { OwnCode } from './own-code.ts';
import type { World } from './world.ts';

/** A livepatch that is loaded in simulation. */
export interface Simulation {
  /** The kernel that it is loaded into. */
  readonly world: World;
  readonly loaded: Loaded;
  /** Its code and data, decoded. */
  readonly own: OwnCode;
}
