export { type ChangelogItem, type Upload, uploadsBetween } from './changelog.ts';
export { fixIdOf } from './fix-id.ts';
export { largestGood } from './largest.ts';
export {
  ATTRIBUTIONS,
  type Attribution,
  type PlannedCve,
  type PlannedRevert,
  planOf,
  type UpdateFacts,
  type UpdatePlan,
} from './plan.ts';
export { type CveFacts, type RecordFault, readRecord } from './records.ts';
export {
  type CveState,
  type FixState,
  type ReportedCve,
  type ReportedFix,
  reportedCves,
  type ShownReason,
} from './report.ts';
export { changeKey, isCovered, type ReviewReason } from './review.ts';
export { type Candidate, connectedSets, joined } from './sets.ts';
