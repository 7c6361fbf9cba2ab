import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KmendError, parseJson } from '@kmend/base';
import { exists, writeFileAtomic } from '@kmend/base/node';
import { ToldReason } from '@kmend/protocol';
import { z } from 'zod';

export type ReviewErrorCode = 'review-unknown' | 'review-ambiguous' | 'review-garbage';

export class ReviewError extends KmendError<ReviewErrorCode> {}

/** A change that a person has to decide on, or has. */
export const Review = z.object({
  schema: z.literal('kmend.review/1'),
  /** Names the change by its content (`changeKey`). */
  key: z.string().regex(/^[0-9a-f]{64}$/),
  fix: z.string(),
  paths: z.array(z.string()),
  /** The kernel and the update that it was found in. */
  kernel: z.string(),
  from: z.string(),
  to: z.string(),
  state: z.enum(['open', 'accepted', 'rejected']),
  /** What is to be read. What was accepted: these, and no others. */
  reasons: z.array(ToldReason),
  /** Of a decision. */
  decided: z.object({ by: z.string(), at: z.iso.datetime(), reason: z.string() }).optional(),
});
export type Review = z.infer<typeof Review>;

export interface Decision {
  readonly state: 'accepted' | 'rejected';
  readonly by: string;
  /** ISO 8601. */
  readonly at: string;
  readonly reason: string;
}

/** The inbox of changes to be reviewed, on the operator's machine: what was decided is kept, and not asked again. */
export class ReviewStore {
  readonly #directory: string;

  /** `home`: the folder `reviews` in it is the store's. */
  constructor(home: string) {
    this.#directory = join(home, 'reviews');
  }

  /** All, those that wait first. */
  async list(): Promise<Review[]> {
    const names = await readdir(this.#directory).catch(() => [] as string[]);
    const keys = names.filter((name) => /^[0-9a-f]{64}\.json$/.test(name)).map((name) => name.slice(0, 64));
    const reviews = await Promise.all(keys.map((key) => this.#read(key)));
    const order = ['open', 'accepted', 'rejected'];
    return reviews
      .filter((review) => review !== undefined)
      .sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state) || (a.fix < b.fix ? -1 : 1));
  }

  /** One by its key, or by the beginning of it. */
  async open(name: string): Promise<Review> {
    const found = (await this.list()).filter(({ key }) => /^[0-9a-f]+$/.test(name) && key.startsWith(name));
    const [review] = found;
    const hint = 'kmend review list shows all';
    if (review === undefined) throw new ReviewError('review-unknown', `there is no review ${name}`, { hint });
    if (found.length > 1)
      throw new ReviewError('review-ambiguous', `${found.length} reviews begin with ${name}`, { hint });
    return review;
  }

  find(key: string): Promise<Review | undefined> {
    return this.#read(key);
  }

  /** The change itself, one character a byte. */
  async patch({ key }: Review): Promise<string> {
    return await readFile(join(this.#directory, `${key}.patch`), 'latin1');
  }

  /** Asks for a review. An earlier decision is replaced, since what is asked is new. */
  async ask(review: Omit<Review, 'schema' | 'state' | 'decided'>, patch: string): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    // The patch first: a review never lacks it.
    await writeFileAtomic(join(this.#directory, `${review.key}.patch`), Buffer.from(patch, 'latin1'));
    await this.#write({ schema: 'kmend.review/1', state: 'open', ...review });
  }

  async decide(review: Review, { state, ...decided }: Decision): Promise<Review> {
    const after: Review = { ...review, state, decided };
    await this.#write(after);
    return after;
  }

  async #write(review: Review): Promise<void> {
    await writeFileAtomic(join(this.#directory, `${review.key}.json`), `${JSON.stringify(review, null, 2)}\n`);
  }

  async #read(key: string): Promise<Review | undefined> {
    const path = join(this.#directory, `${key}.json`);
    if (!(await exists(path))) return undefined;
    const review = Review.safeParse(parseJson(await readFile(path, 'utf8')));
    if (review.success && review.data.key === key) return review.data;
    throw new ReviewError('review-garbage', `the review in ${path} is damaged`, {
      hint: 'remove the file: the change is asked about again when an update is built',
    });
  }
}
