// Dates and times: words on the way, exact; as `Date` where someone wants to reckon with them.

/** What no calendar has (0000-00-00) is below this. */
const INVALID_MAX = -(2n ** 63n) + 2n ** 60n;

/** A word of a column of this kind as a `Date`, to the millisecond; an invalid one is an invalid `Date`. */
export function toDate(kind, word) {
  if (kind !== 'date' && kind !== 'datetime' && kind !== 'timestamp') throw new TypeError(`a value of kind ${kind} is no date`);
  if (word < INVALID_MAX) return new Date(NaN);
  if (kind === 'date') return new Date(Number(word));
  const rest = ((word % 1000n) + 1000n) % 1000n;
  return new Date(Number((word - rest) / 1000n));
}
