import { splitCommands, splitWords } from './words.ts';

/** How Kbuild compiles one unit, read from the `.<name>.o.cmd` it left. */
export interface UnitCommand {
  readonly compiler: string;
  /** Without the input, the output and the dependency file. */
  readonly compilerArguments: readonly string[];
  /** Arguments of objtool without the object; empty where objtool does not run. */
  readonly objtoolArguments: readonly string[];
}

/**
 * The compiler commands in what `make -n V=1` prints, by the object they make. scripts/Kbuild.include,
 * `cmd_and_fixdep`: fixdep gets the whole command as one quoted word, to save it.
 */
export function commandsOfDryRun(text: string): ReadonlyMap<string, string> {
  const commands = new Map<string, string>();
  for (const [, object = '', quoted = ''] of text.matchAll(/fixdep \S+\.d (\S+\.o) ('(?:[^']|'\\'')*')/g))
    commands.set(object, `cmd_${object} := ${splitWords(quoted)[0] ?? ''}\n`);
  return commands;
}

/**
 * Parses the text of a `.cmd` file (scripts/Kbuild.include, `if_changed_dep`); `undefined` where it is not of a C unit.
 */
export function parseCommand(text: string): UnitCommand | undefined {
  const line = /^(?:savedcmd|cmd)_[^ ]+ := (.*)$/m.exec(text)?.[1];
  if (line === undefined) return undefined;
  // make doubles `$` and escapes `#` in what it saves.
  const commands = splitCommands(line.replaceAll('$(pound)', '#').replaceAll('$$', '$'));
  const [compiler, ...words] = splitWords(commands[0] ?? '');
  if (compiler === undefined || !/(?:^|\/)(?:[a-z0-9_-]+-)?gcc(?:-\d+)?$/.test(compiler)) return undefined;
  const compilerArguments: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (word === '-o') at++;
    else if (word !== '-c' && !word.startsWith('-Wp,-MMD,') && !(at === words.length - 1 && word.endsWith('.c'))) {
      compilerArguments.push(word);
    }
  }
  const objtool = commands
    .slice(1)
    .map(splitWords)
    .find((command) => command[0]?.endsWith('tools/objtool/objtool'));
  return {
    compiler,
    compilerArguments,
    objtoolArguments: objtool?.slice(1, -1) ?? [],
  };
}
