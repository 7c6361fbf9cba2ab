import {
  DW_AT_bit_offset,
  DW_AT_bit_size,
  DW_AT_byte_size,
  DW_AT_data_bit_offset,
  DW_AT_data_member_location,
  DW_AT_name,
  DW_AT_type,
  DW_OP_constu,
  DW_OP_plus_uconst,
  DW_TAG_member,
} from '../../dwarf/constants.ts';
import { Cursor, damaged } from '../../dwarf/cursor.ts';
import type { Dwarf, Entry } from '../../dwarf/index.ts';
import { isAggregate, type Member, type Types } from './model.ts';

/** The members of a struct or union, with anonymous structs and unions opened up. */
export function readMembers(reader: Types, aggregate: Entry): Member[] {
  const members: Member[] = [];
  for (const child of reader.dwarf.children(aggregate)) {
    if (child.abbreviation.tag === DW_TAG_member) addMember(reader, child, members);
  }
  return members;
}

function addMember(reader: Types, entry: Entry, members: Member[]): void {
  const { dwarf } = reader;
  const path = dwarf.text(entry, DW_AT_name) ?? '';
  const typeOffset = dwarf.referenceOffset(entry, DW_AT_type);
  const size = reader.size(typeOffset);
  const bitSize = dwarf.count(entry, DW_AT_bit_size);
  const bit = firstBit(dwarf, entry, size, bitSize);
  const { resolved, bounds } = reader.element(typeOffset);
  const aggregate = isAggregate(resolved.entry) ? resolved.entry : undefined;
  const isAnonymous = aggregate !== undefined && resolved.name === undefined;
  if (!isAnonymous || bounds !== '') {
    members.push({
      path,
      bit,
      bits: bitSize ?? size * 8,
      // What is in an array of anonymous structs is compared member by member.
      type: isAnonymous ? `anonymous ${bounds}` : reader.signature(typeOffset),
      embeds: aggregate === undefined ? undefined : resolved.name,
      typeOffset,
    });
  }
  if (!isAnonymous) return;
  const inner = reader.layout(aggregate).members;
  // Dear, so that structs that double at every step end before they fill the memory.
  dwarf.spend(32 * inner.length);
  const prefix = `${path}${bounds === '' ? '' : '[]'}${path === '' ? '' : '.'}`;
  for (const each of inner) members.push({ ...each, path: prefix + each.path, bit: bit + each.bit });
}

/** DWARF 5, 5.7.6; and the way of version 3 to count a bit-field from the most significant bit of its storage unit. */
function firstBit(dwarf: Dwarf, member: Entry, typeSize: number, bitSize: number | undefined): number {
  const direct = dwarf.count(member, DW_AT_data_bit_offset);
  if (direct !== undefined) return direct;
  const byte = memberLocation(dwarf, member);
  const fromTop = dwarf.constant(member, DW_AT_bit_offset);
  if (fromTop === undefined || bitSize === undefined) return byte * 8;
  const storage = (dwarf.count(member, DW_AT_byte_size) ?? typeSize) * 8;
  return byte * 8 + storage - Number(BigInt.asIntN(64, fromTop)) - bitSize;
}

function memberLocation(dwarf: Dwarf, member: Entry): number {
  if (!dwarf.has(member, DW_AT_data_member_location)) return 0;
  const constant = dwarf.count(member, DW_AT_data_member_location);
  if (constant !== undefined) return constant;
  // Version 2 has an expression here: add so much to the address of the whole.
  const expression = dwarf.block(member, DW_AT_data_member_location);
  const cursor = new Cursor('a member location', expression ?? Buffer.alloc(0));
  const operation = cursor.u8();
  if (operation !== DW_OP_plus_uconst && operation !== DW_OP_constu) {
    throw damaged(`the member at ${member.offset} has no fixed place`);
  }
  return cursor.uleb();
}
