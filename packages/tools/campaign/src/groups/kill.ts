import type { Life } from '../life.ts';
import type { Round } from '../round.ts';
import { type Place, placeId } from './steps.ts';
import { strike } from './strike.ts';

/** kill -9 of the agent right before a step; systemd starts it again, and it continues. */
export function killRound(life: Life, place: Place): Round {
  const id = placeId(place);
  return { id, run: () => strike(life, { id, place }, { mode: 'kill' }, (fired) => fired.join('; ')) };
}
