export { type ChangelogItem, type Upload, uploadsBetween } from './changelog.ts';
export {
  type Attribution,
  type PlannedCve,
  type PlannedRevert,
  planOf,
  type UpdateFacts,
  type UpdatePlan,
} from './plan.ts';
export { type CveFacts, type RecordFault, readRecord } from './records.ts';
