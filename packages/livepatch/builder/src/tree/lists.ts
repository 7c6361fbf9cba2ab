/** The objects that one folder's Kbuild file names (Documentation/kbuild/makefiles.rst). */
export interface FolderLists {
  /** By variable: `obj-y`, `obj-m`, `lib-y`, `lib-m`, `subdir-y`, `subdir-m`. */
  readonly lists: ReadonlyMap<string, readonly string[]>;
  /**
   * What each composite object is made of, by suffix of the variable: `objs`, `y`, `m`, and the empty one of what is
   * left out.
   */
  readonly parts: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
}

/** What kbuild/lists.mk prints. */
export interface TreeLists {
  readonly folders: ReadonlyMap<string, FolderLists>;
  /** Folders whose `lib.a` is part of vmlinux. */
  readonly libraries: ReadonlySet<string>;
}

/** An object file that Kbuild links into vmlinux or a module. */
export interface LinkedObject {
  /** As Kbuild names it, which need not be the shortest way: `arch/x86/kvm/../../../virt/kvm/kvm_main.o`. */
  readonly target: string;
  /** `vmlinux`, or the module's name as `/proc/modules` spells it. */
  readonly object: string;
}

/** Parses what kbuild/lists.mk prints; `undefined` where it did not come to its end. */
export function parseLists(text: string): TreeLists | undefined {
  const folders = new Map<string, FolderLists>();
  const libraries = new Set<string>();
  let lists = new Map<string, readonly string[]>();
  let parts = new Map<string, Map<string, readonly string[]>>();
  let isWhole = false;
  for (const line of text.split('\n')) {
    const [, kind = '', rest = ''] = /^kmend: ([\w-]+) ?(.*)$/.exec(line) ?? [];
    const words = rest.split(/\s+/).filter((word) => word !== '');
    if (kind === 'end') isWhole = true;
    else if (kind === 'libraries') for (const word of words) libraries.add(word);
    else if (kind === 'folder') {
      lists = new Map();
      parts = new Map();
      folders.set(rest, { lists, parts });
    } else if (kind.startsWith('part-')) {
      const [composite = '', ...made] = words;
      const known = parts.get(composite) ?? new Map<string, readonly string[]>();
      parts.set(composite, known.set(kind.slice('part-'.length), made));
    } else if (kind !== '') lists.set(kind, words);
  }
  return isWhole ? { folders, libraries } : undefined;
}

/**
 * What Kbuild links into vmlinux and the modules, by scripts/Makefile.lib and the descending of scripts/Makefile.build.
 */
export function linkedObjects({ folders, libraries }: TreeLists): LinkedObject[] {
  const found: LinkedObject[] = [];
  const seen = new Set<string>();
  const visit = (folder: string, isBuiltin: boolean, hasModules: boolean): void => {
    const made = folders.get(folder);
    const visited = `${folder} ${isBuiltin} ${hasModules}`;
    if (made === undefined || seen.has(visited)) return;
    seen.add(visited);
    const within = (name: string): string => (folder === '.' ? name : `${folder}/${name}`);
    const list = (name: string): readonly string[] => made.lists.get(name) ?? [];
    const builtin = new Set(list('obj-y'));
    // "When an object is listed to be built compiled-in and modular, only build the compiled-in version."
    const modular = new Set(list('obj-m').filter((name) => !builtin.has(name)));
    const add = (name: string, object: string): void => {
      if (name.endsWith('.o')) found.push({ target: within(name), object });
    };
    if (isBuiltin) {
      for (const name of builtin) for (const part of partsOf(made, name, ['objs', 'y'])) add(part, 'vmlinux');
    }
    if (libraries.has(folder)) {
      for (const name of [...list('lib-y'), ...list('lib-m')]) if (!builtin.has(name)) add(name, 'vmlinux');
    }
    if (hasModules) {
      for (const name of modular) {
        const module = name.replace(/^.*\//, '').replace(/\.o$/, '').replaceAll('-', '_');
        for (const part of partsOf(made, name, ['objs', 'y', 'm'])) add(part, module);
      }
    }
    // Below subdir-y nothing is linked; below a folder of obj-m no more than modules are.
    for (const name of builtin) if (name.endsWith('/')) visit(within(name.slice(0, -1)), isBuiltin, hasModules);
    for (const name of modular) if (name.endsWith('/')) visit(within(name.slice(0, -1)), false, hasModules);
  };
  visit('.', true, true);
  const known = new Set<string>();
  return found.filter(({ target, object }) => {
    const key = `${target} ${object}`;
    if (known.has(key)) return false;
    known.add(key);
    return true;
  });
}

/** `real-search` of scripts/Makefile.lib: a composite of which everything is left out is still one. */
function partsOf({ parts }: FolderLists, name: string, suffixes: readonly string[]): readonly string[] {
  const known = parts.get(name);
  const made = suffixes.flatMap((suffix) => known?.get(suffix) ?? []);
  return made.length > 0 || known?.has('') === true ? made : [name];
}
