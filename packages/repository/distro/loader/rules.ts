import {
  claimRule,
  coldPart,
  cutHeading,
  cutTitle,
  deepStack,
  directCall,
  type Heading,
  headingPrefix,
  headings,
  hookedFunction,
  hostRefusals,
  kindsOfTheInterrupted,
  kprobeAsleep,
  kprobeOnEntry,
  listingBytes,
  logLimits,
  logPatterns,
  manifestRule,
  memoryRule,
  mostCuts,
  type PackageCodeWeight,
  packageCodes,
  place,
  reportEnds,
  rivalModule,
  sharedCall,
  stateLimits,
  taintFlags,
  timing,
  toEre,
} from '@kmend/rules';

/** The tables of @kmend/rules as the shell and its awk read them: the text of `parts/rules.sh`. */
export function rulesText(): string {
  const parts = [
    HEAD,
    numbers(),
    words(),
    codes(),
    refusals(),
    diskCodes(),
    awk('log_rules', logRules()),
    awk('hook_rules', hookRules()),
    awk('manifest_rules', manifestRules()),
    awk('rival_rules', matcher('is_rival', rivalModule)),
    awk('claim_rules', matcher('is_module', claimRule.module)),
  ];
  return `${parts.join('\n\n')}\n`;
}

const HEAD = `# shellcheck shell=dash disable=SC2016,SC2034
# Generated from the tables of packages/host/rules by packages/repository/distro/loader/generate.ts: do not edit.
# script/check --fix writes it again.
# SC2016: awk programs. SC2034: other parts use these.`;

/** Seconds where the name says so, else hundredths of a second; sizes in bytes. */
function numbers(): string {
  const refusing = taintFlags
    .filter(({ weight }) => weight === 'refuses')
    .reduce((mask, { bit }) => mask | (1 << bit), 0);
  const { packages } = timing;
  return assignments({
    taint_refusing: refusing,
    memory_copies: memoryRule.copies,
    memory_per_function: memoryRule.bytesPerFunction,
    memory_floor: memoryRule.floor,
    soak_seconds: timing.soak,
    take_back_seconds: timing.transitionLimit,
    pause_seconds: timing.firstPause,
    longest_pause_seconds: timing.longestPause,
    insmod_seconds: timing.insmod,
    wait_limit: packages.transitionWait * 100,
    boot_wait_limit: packages.bootTransitionWait * 100,
    unload_limit: packages.unload * 100,
    package_deadline_seconds: packages.deadline,
    boot_deadline_seconds: packages.bootDeadline,
    lock_seconds: packages.lock,
    package_lock_seconds: packages.packageLock,
    shutdown_lock_seconds: packages.shutdownLock,
    most_cuts: mostCuts,
    depth_limit: deepStack,
    state_limit: stateLimits.bytes,
    state_good: stateLimits.good,
    state_trusted: stateLimits.trusted,
    state_quarantined: stateLimits.quarantined,
    state_problems: stateLimits.problems,
    manifest_limit: manifestRule.manifestBytes,
    listing_limit: listingBytes,
    claim_limit: claimRule.limit,
  });
}

function words(): string {
  return assignments({
    first_pid_namespace: place.firstPidNamespace,
    whole_uid_map: place.wholeUidMap,
    capture_mark: place.capture,
    container_marks: place.containerMarks.join(' '),
    claim_header: claimRule.header,
  });
}

function assignments(values: Readonly<Record<string, number | string>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${typeof value === 'number' ? value : quoted(value)}`)
    .join('\n');
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function codes(): string {
  const entries = Object.entries(packageCodes);
  const hints = entries
    .filter(([, { hint }]) => hint !== '')
    .map(([code, { hint }]) => `    ${code}) echo ${quoted(hint)} ;;`);
  const weighing = (name: string, weight: PackageCodeWeight): string => {
    const which = entries.filter(([, rule]) => rule.weight === weight).map(([code]) => code);
    return `${name}() {\n  case $1 in\n${which.map((code) => `    ${code}) return 0 ;;`).join('\n')}\n  esac\n  return 1\n}`;
  };
  return [
    `# Every code, with the way out.\nhint_of() {\n  case $1 in\n${hints.join('\n')}\n  esac\n}`,
    `# Barred for a while only: kmend-livepatch-retry.service tries again.\n${weighing('is_passing', 'passing')}`,
    `# Told, but nothing failed.\n${weighing('is_remark', 'remark')}`,
  ].join('\n\n');
}

/** What insmod's words say of the host, as a code of the loader. */
const REFUSALS = { 'not-permitted': 'module-refused', 'key-untrusted': 'module-refused' } as const;

function refusals(): string {
  const lines = hostRefusals.map(([text, means]) => {
    const code = means in REFUSALS ? REFUSALS[means as keyof typeof REFUSALS] : means;
    return `    *${quoted(`: ${text}`)}) echo ${code} ;;`;
  });
  return `# The code of what insmod said; load-refused: the kernel refused the livepatch itself.\nrefusal_of() {\n  case $1 in\n${lines.join('\n')}\n    *) echo load-refused ;;\n  esac\n}`;
}

function diskCodes(): string {
  const lines = hostRefusals
    .filter(([, means]) => means === 'disk-read-only' || means === 'disk-failing')
    .map(([text, means]) => `    *${quoted(text)}*) echo ${means} ;;`);
  return `# The code of a write that failed.\ndisk_code() {\n  case $1 in\n${lines.join('\n')}\n    *) echo disk-full ;;\n  esac\n}`;
}

function awk(name: string, program: string): string {
  if (program.includes("'")) throw new Error(`${name} cannot be quoted for the shell`);
  return `${name}='\n${program}\n'`;
}

/** `name(text)`: where the pattern begins in a text, 0: nowhere; RLENGTH is how long it is. */
function matcher(name: string, source: string): string {
  return `function ${name}(text) { return match(text, ${literal(source)}) }`;
}

function literal(source: string): string {
  return `/${toEre(source)}/`;
}

function logRules(): string {
  const { until, kind } = cutHeading;
  const ends = Object.entries(reportEnds).map(
    ([end, source]) => `  if (how == "${end}") return text ~ ${literal(source)}`,
  );
  return [
    'BEGIN {',
    ...Object.entries({
      LINE: logLimits.line,
      TEXT: logLimits.text,
      LINES: logLimits.packagesLines,
      SILENCE: logLimits.silence,
      FOREWORD: logLimits.foreword,
      OPEN: logLimits.open,
      CUT: logLimits.cut,
    }).map(([name, value]) => `  ${name} = ${value}`),
    `  CUT_TITLE = "${cutTitle}"`,
    '}',
    'function heading(text,    bare) {',
    '  bare = text',
    `  sub(${literal(headingPrefix)}, "", bare)`,
    ...headings.map((rule) => `  # ${rule.printedBy}\n  if (bare ~ ${literal(rule.pattern)}) return ${headed(rule)}`),
    '  return 0',
    '}',
    `function cut_heading() { return ${headed({ kind, until })} }`,
    'function is(what, end, pending, death) { h_kind = what; h_until = end; h_pending = pending; h_death = death; return 1 }',
    'function is_end(how, text) {',
    ...ends,
    '  return 0',
    '}',
    `function is_of_the_interrupted(what) { return ${kindsOfTheInterrupted.map((it) => `what == "${it}"`).join(' || ')} }`,
    matcher('level', logPatterns.level),
    matcher('stamp', logPatterns.stamp),
    matcher('caller_column', logPatterns.caller),
    matcher('is_foreword', logPatterns.foreword),
    matcher('is_dump', logPatterns.dump),
    matcher('is_symbol', logPatterns.symbol),
    matcher('is_frame', logPatterns.frame),
    matcher('is_pointer', logPatterns.pointer),
    matcher('names_symbol', logPatterns.headingSymbol),
    matcher('is_interrupt', logPatterns.interrupt),
    matcher('cold_part', coldPart),
  ].join('\n');
}

function headed({ kind, until, isPending, isDeath }: Heading): string {
  return `is("${kind}", "${until}", ${isPending === true ? 1 : 0}, ${isDeath === true ? 1 : 0})`;
}

function hookRules(): string {
  return [
    matcher('hooked_function', hookedFunction),
    matcher('direct_call', directCall),
    matcher('is_shared_call', sharedCall),
    matcher('is_asleep', kprobeAsleep),
    matcher('is_on_entry', kprobeOnEntry),
    matcher('cold_part', coldPart),
  ].join('\n');
}

function manifestRules(): string {
  const limits = {
    LIVEPATCH: manifestRule.moduleBytes,
    PACKAGE: manifestRule.packageName,
    VERSION: manifestRule.versionLength,
    RELEASE: manifestRule.releaseName,
    FIX_ID: manifestRule.fixId,
    FIX_LINE: manifestRule.fixLine,
    OBJECT: manifestRule.objectName,
    FUNCTION: manifestRule.functionName,
  };
  return [
    'BEGIN {',
    ...Object.entries(limits).map(([name, value]) => `  ${name} = ${value}`),
    '}',
    matcher('is_object', manifestRule.object),
    matcher('is_function', manifestRule.function),
  ].join('\n');
}
