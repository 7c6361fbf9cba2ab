/**
 * The value of a JSON text; `undefined` for what is none. A schema behind it decides whether it is what was expected.
 */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
