/** Compares two versions of Debian packages as Debian's policy says ("Version"): below 0 where `a` is the older one. */
export function compareVersions(a: string, b: string): number {
  const [first, second] = [parts(a), parts(b)];
  return (
    first.epoch - second.epoch ||
    compareText(first.upstream, second.upstream) ||
    compareText(first.revision, second.revision)
  );
}

function parts(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(':');
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf('-');
  return {
    epoch: colon === -1 ? 0 : Number(version.slice(0, colon)),
    upstream: dash === -1 ? rest : rest.slice(0, dash),
    revision: dash === -1 ? '' : rest.slice(dash + 1),
  };
}

function compareText(a: string, b: string): number {
  // Text and numbers in turns, text first: `1.2~rc` is `''`, 1, `.`, 2, `~rc`.
  const [first, second] = [a.split(/(\d+)/), b.split(/(\d+)/)];
  for (let index = 0; index < Math.max(first.length, second.length); index++) {
    const [one = '', other = ''] = [first[index], second[index]];
    const order = index % 2 === 1 ? Number(one) - Number(other) : compareLetters(one, other);
    if (order !== 0) return order;
  }
  return 0;
}

/** A tilde comes before the end, letters come before all else. */
function compareLetters(a: string, b: string): number {
  const weight = (character: string | undefined): number =>
    character === undefined
      ? 0
      : character === '~'
        ? -1
        : (/[A-Za-z]/.test(character) ? 0 : 256) + character.charCodeAt(0);
  for (let index = 0; index < Math.max(a.length, b.length); index++) {
    const order = weight(a[index]) - weight(b[index]);
    if (order !== 0) return order;
  }
  return 0;
}
