import { readFile, stat } from 'node:fs/promises';
import { errorCode, errorText, KmendError, parseJson, shownLine } from '@kmend/base';
import { ReportFile } from '@kmend/protocol';
import type { ApiClient } from '@kmend/server';
import type { Command } from 'commander';
import { CliError, exitCodes } from '../error.ts';
import type { Registrar } from '../program.ts';
import { connect, type ServerOptions, withServer } from '../server-options.ts';

/** Bytes; far above what an agent writes. */
const MAX_FILE = 16 * 2 ** 20;

interface Carried extends ReportFile {
  readonly path: string;
}

interface Imported {
  readonly file: string;
  readonly hostId: string;
  readonly hostname: string;
  readonly sequence: number;
  readonly stored: boolean;
  /** Sequence of the newest report that the server has; absent if it was refused. */
  readonly newest?: number;
  /** Its number belongs to another report: the host has to write a new one. */
  readonly numberUsed?: boolean | undefined;
  readonly error?: { readonly code: string; readonly message: string; readonly hint: string | undefined };
}

/** `kmend host import`: imports report files that were carried here. */
export function importCommand(host: Command, { action }: Registrar): void {
  const command = host
    .command('import')
    .description('Import report files from hosts without a network (kmend-agent check --report FILE).')
    .argument('<file...>', 'Report files, in any order');
  withServer(command).action(
    action(async (context, paths: string[], options: ServerOptions) => {
      const files: Carried[] = [];
      for (const path of paths) files.push(await readReportFile(path));
      // Oldest first: a newer one in front would make the server pass the others over, and with them what happened
      // then.
      files.sort((a, b) => a.hostId.localeCompare(b.hostId) || a.report.sequence - b.report.sequence);
      const api = await connect(context, options);
      const reports: Imported[] = [];
      for (const file of files) reports.push(await handOver(api, file));
      for (const { file, error } of reports) {
        if (error === undefined) continue;
        context.terminal.note(`kmend: ${file}: ${shownLine(error.message)} [${error.code}]`);
        if (error.hint !== undefined) context.terminal.note(`  ${shownLine(error.hint)}`);
        context.exitWith(exitCodes.failed);
      }
      context.terminal.result({ reports }, (data) =>
        [
          ...data.reports.filter(({ error }) => error === undefined).map(line),
          `${data.reports.filter(({ stored }) => stored).length} of ${data.reports.length} reports stored`,
        ].join('\n'),
      );
    }),
  );
}

/** A host that the server does not know must not keep the reports of the others out; all else ends the command. */
async function handOver(api: ApiClient, { path, ...file }: Carried): Promise<Imported> {
  const { hostId, report } = file;
  const of = { file: path, hostId, hostname: report.facts.hostname, sequence: report.sequence };
  try {
    return { ...of, ...(await api.importReport(file)) };
  } catch (error) {
    const code = errorCode(error);
    if (!(error instanceof KmendError) || code !== 'not-found') throw error;
    return { ...of, stored: false, error: { code, message: error.message, hint: error.hint } };
  }
}

function line({ hostname, hostId, sequence, stored, newest, numberUsed }: Imported): string {
  const known = `changes nothing: the server has report ${newest}`;
  const used = 'is not stored: its number belongs to another report of that boot; let the host write a new one';
  const what = stored ? 'stored' : numberUsed === true ? used : known;
  return `${shownLine(hostname)} (${hostId}): report ${sequence} ${what}`;
}

async function readReportFile(path: string): Promise<Carried> {
  const parsed = ReportFile.safeParse(parseJson(await textOf(path)));
  if (parsed.success) return { ...parsed.data, path };
  const [issue] = parsed.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? '' : ` at ${issue.path.join('.')}`;
  throw unreadable(`${path} is not a report file${where}: ${issue?.message}`, parsed.error);
}

async function textOf(path: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size <= MAX_FILE) return await readFile(path, 'utf8');
  } catch (cause) {
    throw unreadable(`${path} cannot be read: ${errorText(cause)}`, cause);
  }
  throw unreadable(`${path} is larger than any report (${MAX_FILE} bytes)`);
}

function unreadable(message: string, cause?: unknown): CliError {
  const hint = 'nothing was imported; kmend-agent check --report FILE on the host writes such a file';
  return new CliError('report-unreadable', message, { cause, hint });
}
