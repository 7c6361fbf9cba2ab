import { transitions } from './transitions.ts';

/**
 * The state machine as a Mermaid state diagram, from the very table that the transitions assert. docs/agent.md shows
 * it.
 */
export function picture(): string {
  const arrows = new Map<string, string[]>();
  for (const [name, { from, to }] of Object.entries(transitions)) {
    for (const source of from) {
      for (const target of to) {
        if (target === 'same') continue;
        const arrow = `${source} --> ${target}`;
        arrows.set(arrow, [...(arrows.get(arrow) ?? []), name]);
      }
    }
  }
  const lines = [...arrows].map(([arrow, names]) => `  ${arrow} : ${names.join(', ')}`);
  const before = '  state "what was in force before, or idle" as before';
  return ['stateDiagram-v2', before, '  [*] --> idle', ...lines].join('\n');
}
