// Write Tidegate plugins in C or C++: define tg_configure, tg_bind and tg_process; build with scripts/toolchains/c-wasm.sh.
//
// A plugin gets the changes of a table in batches, and only the columns that it asked for. There are two ways to look at a
// batch: row by row (TG_ROWS, tg_text, tg_set_text and their siblings), which reads naturally, and column by column
// (tg_texts, tg_text_at and their siblings, tg_rewrite, tg_set_all), which is faster. README.md has an example of each.
//
// Memory: what the library hands out (texts, tg_format) lives until the call ends, and for ever if it was made by
// tg_configure or tg_bind. Nothing has to be freed. malloc works, too.
//
// Columns are named. A name that the table or the plan does not have, or a value of another kind, is a mistake of the plugin
// and a panic that says where.
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

// What happened to a row. A snapshot is read from the table itself and not from the change stream.
typedef enum tg_op { TG_INSERT, TG_UPDATE, TG_DELETE, TG_SNAPSHOT } tg_op;

// What a column holds. Dates and times are int64: TG_DATE in milliseconds since 1970-01-01, TG_TIME in microseconds, signed,
// TG_DATETIME and TG_TIMESTAMP in microseconds since 1970-01-01T00:00:00, the latter UTC; a date that no calendar has
// (0000-00-00) is below -2^63 + 2^60. Decimals are exact: their text. JSON is its text.
typedef enum tg_kind {
  TG_BOOLEAN, TG_INT64, TG_UINT64, TG_FLOAT64, TG_TEXT, TG_BYTES, TG_DECIMAL, TG_JSON, TG_DATE, TG_TIME, TG_DATETIME, TG_TIMESTAMP
} tg_kind;

// Text (UTF-8) or bytes. `ptr` is NULL for what is NULL or absent. There is no zero byte at the end of a column's text.
typedef struct tg_str {
  const char *ptr;
  size_t len;
} tg_str;

// A C string as one.
static inline tg_str tg_s(const char *text) {
  tg_str s = {text, text ? strlen(text) : 0};
  return s;
}
static inline bool tg_equal(tg_str a, tg_str b) {
  return (a.ptr != NULL) == (b.ptr != NULL) && a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

// What a value is: it goes with several kinds of columns (see tg_kind).
typedef enum tg_type { TG_IS_NULL, TG_IS_ABSENT, TG_IS_BOOLEAN, TG_IS_INT64, TG_IS_UINT64, TG_IS_FLOAT64, TG_IS_TEXT, TG_IS_BYTES } tg_type;

typedef struct tg_value {
  tg_type type;
  union {
    bool boolean;
    int64_t int64;
    uint64_t uint64;
    double float64;
    tg_str str; // text and bytes
  } as;
} tg_value;

tg_value tg_null(void);
tg_value tg_of_boolean(bool value);
tg_value tg_of_int64(int64_t value);
tg_value tg_of_uint64(uint64_t value);
tg_value tg_of_float64(double value);
tg_value tg_of_text(tg_str value);
tg_value tg_of_bytes(tg_str value);

typedef struct tg_column {
  const char *name;
  tg_kind kind;
  bool nullable;
  const char *source_type; // as the source's DDL writes it: varchar(55); empty for a column that a plugin added
} tg_column;

// A table as seen at one position.
typedef struct tg_relation {
  uint32_t id;
  const char *schema;
  const char *table;
  size_t columns_len;
  const tg_column *columns;
  size_t key_len; // 0: the table has no key
  const uint16_t *key; // indexes of the key columns, in key order
} tg_relation;

// NULL: the table has no such column.
const tg_column *tg_find(const tg_relation *relation, const char *name);
// True for "schema.table", "table", "schema.*" and "*".
bool tg_matches(const tg_relation *relation, const char *pattern);
bool tg_is_key(const tg_relation *relation, const tg_column *column);

// ---- JSON: the config, and columns that hold it

// A value in a JSON text; `at` is NULL for what is not there. Functions take what is not there, and answer the same.
typedef struct tg_json {
  const char *at;
} tg_json;

// What is not JSON (or nested more than 64 deep) is as what is not there.
tg_json tg_json_parse(tg_str text);
tg_json tg_json_get(tg_json object, const char *key);
size_t tg_json_len(tg_json array); // 0 for what is no array
tg_json tg_json_item(tg_json array, size_t i);
// A string, with a zero byte at its end; ptr is NULL for what is none.
tg_str tg_json_text(tg_json value);
// False for what is no such number, or does not fit.
bool tg_json_int64(tg_json value, int64_t *out);
bool tg_json_float64(tg_json value, double *out);
bool tg_json_boolean(tg_json value, bool *out);

// ---- What a plugin defines. Each lane of a pipeline has an instance of its own; calls never overlap.

typedef struct tg_plan tg_plan;
typedef struct tg_batch tg_batch;

// Called once, first, with the manifest's `config`. Each returns NULL, or what is wrong: tg_format makes a message of values.
const char *tg_configure(tg_json config);
// Called once for each table that passes, and again when its columns have changed: asks for columns by calls with `plan`. A
// plan that is not touched: the table does not concern this plugin. Must give the same plan for the same relation.
const char *tg_bind(const tg_relation *relation, tg_plan *plan);
// At least one row of a relation that was planned for, in source order. An error stops the pipeline; one row that cannot be
// processed is better reported by tg_fail.
const char *tg_process(tg_batch *batch);

#if defined(__GNUC__)
#define TG_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define TG_NORETURN __attribute__((noreturn))
#else
#define TG_PRINTF(at, first)
#define TG_NORETURN
#endif

const char *tg_format(const char *format, ...) TG_PRINTF(1, 2);

typedef enum tg_level { TG_DEBUG, TG_INFO, TG_WARN, TG_ERROR } tg_level;
// Never log row values.
void tg_log(tg_level level, const char *format, ...) TG_PRINTF(2, 3);

// Where a call stands in the plugin's source: what messages name. The functions with a `where` have a macro that fills it in.
#define TG_TEXT_(x) #x
#define TG_TEXT(x) TG_TEXT_(x)
#define TG_HERE __FILE__ ":" TG_TEXT(__LINE__)

// Ends the instance, and so the pipeline, with a message and the place of the call.
#define tg_panic(...) tg_panic_from(TG_HERE, __VA_ARGS__)
TG_NORETURN void tg_panic_from(const char *where, const char *format, ...) TG_PRINTF(2, 3);

// ---- The plan. A name that the table does not have is an error of tg_bind.

// Only rows of the operations that are named so; all, if none is. Rows of others pass by unseen.
void tg_sees(tg_plan *plan, tg_op op);
// Reads the row's value whatever happened to it: after an insert or update, before a delete.
void tg_reads(tg_plan *plan, const char *column);
void tg_reads_after(tg_plan *plan, const char *column);
void tg_reads_before(tg_plan *plan, const char *column);
// Reads in order to replace, as tg_rewrite does: the after image, and the before image where something downstream reads it.
void tg_rewrites(tg_plan *plan, const char *column);
// Adds a column; absent in every row that does not set it.
void tg_adds(tg_plan *plan, const char *column, tg_kind kind);
// Adds a column that every row sets.
void tg_adds_not_null(tg_plan *plan, const char *column, tg_kind kind);
// Leaves a column out. Not a key column. It can still be read.
void tg_drops(tg_plan *plan, const char *column);
void tg_renames(tg_plan *plan, const char *column, const char *to);

// TG_POSITION: text, file:offset where the row's transaction begins. TG_PLACE: grows within the transaction. TG_TRANSACTION: text,
// its GTID, if it has one. TG_COMMIT_TIME: microseconds since 1970-01-01, UTC, by the source's clock.
typedef enum tg_metadata { TG_POSITION, TG_PLACE, TG_TRANSACTION, TG_COMMIT_TIME } tg_metadata;
void tg_reads_metadata(tg_plan *plan, tg_metadata metadata);

// A table, "schema.table", of which the plugin makes rows (tg_derive). Without a key, rows can be inserted only.
typedef struct tg_derivation tg_derivation;
tg_derivation *tg_derives(tg_plan *plan, const char *table);
// The next column of the key, which every row sets.
void tg_derives_key(tg_derivation *table, const char *column, tg_kind kind);
// A column that may be NULL, or absent.
void tg_derives_column(tg_derivation *table, const char *column, tg_kind kind);

// ---- A batch

const tg_relation *tg_relation_of(const tg_batch *batch);
// How many rows it has: at least one.
uint32_t tg_count(const tg_batch *batch);

// Which image of a row to look at. TG_OWN: after the change, or before it where the row was deleted.
typedef enum tg_side { TG_OWN, TG_AFTER, TG_BEFORE } tg_side;

// ---- Row by row

// One row. Reads and sets its own image unless tg_after or tg_before says otherwise. What is set is not read back.
typedef struct tg_row {
  tg_batch *batch;
  uint32_t index; // in the batch; of a derived row, in its table
  uint8_t side;
  uint16_t table; // 0, or 1 + the number of the derived table
} tg_row;

// for (every row of the batch): TG_ROWS(row, batch) { … }
#define TG_ROWS(row, batch) for (tg_row row = tg_first(batch); row.index < tg_count(batch); row = tg_next(row))
tg_row tg_first(tg_batch *batch);
tg_row tg_next(tg_row row);
#define tg_row_at(batch, index) tg_row_from(TG_HERE, batch, index)
tg_row tg_row_from(const char *where, tg_batch *batch, uint32_t index);

tg_op tg_op_of(tg_row row);
// The same row, looked at after or before the change.
tg_row tg_after(tg_row row);
tg_row tg_before(tg_row row);

// Text, decimal or JSON. ptr is NULL: NULL, or not in the image.
#define tg_text(row, column) tg_text_from(TG_HERE, row, column)
tg_str tg_text_from(const char *where, tg_row row, const char *column);
#define tg_bytes(row, column) tg_bytes_from(TG_HERE, row, column)
tg_str tg_bytes_from(const char *where, tg_row row, const char *column);
// Numbers and booleans go to *out. False: NULL, or not in the image; *out is left as it was. int64 reads dates and times, too.
#define tg_int64(row, column, out) tg_int64_from(TG_HERE, row, column, out)
bool tg_int64_from(const char *where, tg_row row, const char *column, int64_t *out);
#define tg_uint64(row, column, out) tg_uint64_from(TG_HERE, row, column, out)
bool tg_uint64_from(const char *where, tg_row row, const char *column, uint64_t *out);
#define tg_float64(row, column, out) tg_float64_from(TG_HERE, row, column, out)
bool tg_float64_from(const char *where, tg_row row, const char *column, double *out);
#define tg_boolean(row, column, out) tg_boolean_from(TG_HERE, row, column, out)
bool tg_boolean_from(const char *where, tg_row row, const char *column, bool *out);
// A column of any kind. TG_IS_ABSENT: the image does not have it, so that it is not known (binlog_row_image = MINIMAL).
#define tg_get(row, column) tg_get_from(TG_HERE, row, column)
tg_value tg_get_from(const char *where, tg_row row, const char *column);
// Row metadata that the plan asked for.
#define tg_metadata_text(row, metadata) tg_metadata_text_from(TG_HERE, row, metadata)
tg_str tg_metadata_text_from(const char *where, tg_row row, tg_metadata metadata);
#define tg_metadata_int64(row, metadata, out) tg_metadata_int64_from(TG_HERE, row, metadata, out)
bool tg_metadata_int64_from(const char *where, tg_row row, tg_metadata metadata, int64_t *out);

// Sets a value; those of TG_IS_ABSENT leave the column as it is.
#define tg_set(row, column, value) tg_set_from(TG_HERE, row, column, value)
void tg_set_from(const char *where, tg_row row, const char *column, tg_value value);
#define tg_set_null(row, column) tg_set_from(TG_HERE, row, column, tg_null())
#define tg_set_boolean(row, column, value) tg_set_from(TG_HERE, row, column, tg_of_boolean(value))
#define tg_set_int64(row, column, value) tg_set_from(TG_HERE, row, column, tg_of_int64(value))
#define tg_set_uint64(row, column, value) tg_set_from(TG_HERE, row, column, tg_of_uint64(value))
#define tg_set_float64(row, column, value) tg_set_from(TG_HERE, row, column, tg_of_float64(value))
#define tg_set_text(row, column, value) tg_set_from(TG_HERE, row, column, tg_of_text(value))
#define tg_set_bytes(row, column, value) tg_set_from(TG_HERE, row, column, tg_of_bytes(value))

// Makes another operation of it: a delete into an update keeps the row at the sink.
void tg_set_op(tg_row row, tg_op op);
// It goes no further.
void tg_drop(tg_row row);
// Sends it to this topic and to no other; by default it goes to "schema.table".
void tg_route(tg_row row, const char *topic);
// Sends it to this topic as well as to those that tg_route and this have named.
void tg_route_also(tg_row row, const char *topic);
// It cannot be processed: the pipeline stops in front of it. The message should not hold values.
void tg_fail(tg_row row, const char *message);

// Makes a row of a table that the plan derives: an insert, which replaces a row of its key. It is written after `row`, whether
// that one is dropped or not. Its columns are set like those of any row; what is not set is absent.
#define tg_derive(row, table) tg_derive_from(TG_HERE, row, TG_INSERT, table)
// Makes another change: an update sets some columns of the row of its key, a delete needs the key alone.
#define tg_derive_as(row, op, table) tg_derive_from(TG_HERE, row, op, table)
tg_row tg_derive_from(const char *where, tg_row row, tg_op op, const char *table);

// ---- Column by column

// One image of a column. Bitmaps are NULL where every row has a value.
typedef struct tg_vector {
  const uint8_t *nulls;
  const uint8_t *present;
  const uint8_t *data;
  const uint8_t *offsets; // of texts and bytes: i32 little-endian
} tg_vector;

// A column: for each row, its image; `side` decides which one counts.
typedef struct tg_images {
  const uint8_t *ops;
  const tg_vector *after; // NULL: not passed, so that every value is NULL
  const tg_vector *before;
  const tg_vector *whole; // has the value of every row; NULL: none does
} tg_images;

static inline const tg_vector *tg_vector_of(const tg_images *images, uint32_t row) {
  if (images->whole) return images->whole;
  const tg_vector *vector = images->ops[row] == TG_DELETE ? images->before : images->after;
  return vector && (!vector->nulls || (vector->nulls[row / 8] >> (row % 8) & 1)) ? vector : NULL;
}
static inline uint64_t tg_word_of(const tg_vector *vector, uint32_t row) {
  uint64_t word;
  memcpy(&word, vector->data + (size_t)row * 8, 8);
  return word;
}
static inline tg_str tg_str_of(const tg_images *images, uint32_t row) {
  tg_str none = {NULL, 0};
  const tg_vector *vector = tg_vector_of(images, row);
  if (!vector) return none;
  uint32_t ends[2];
  memcpy(ends, vector->offsets + (size_t)row * 4, 8);
  tg_str value = {(const char *)vector->data + ends[0], ends[1] - ends[0]};
  return value;
}

// A type for each kind of value, so that the compiler tells them apart.
typedef struct tg_text_column { tg_images images; } tg_text_column;
typedef struct tg_bytes_column { tg_images images; } tg_bytes_column;
typedef struct tg_int64_column { tg_images images; } tg_int64_column;
typedef struct tg_uint64_column { tg_images images; } tg_uint64_column;
typedef struct tg_float64_column { tg_images images; } tg_float64_column;
typedef struct tg_boolean_column { tg_images images; } tg_boolean_column;

// Text, decimal or JSON.
#define tg_texts(batch, side, column) tg_texts_from(TG_HERE, batch, side, column)
tg_text_column tg_texts_from(const char *where, tg_batch *batch, tg_side side, const char *column);
#define tg_blobs(batch, side, column) tg_blobs_from(TG_HERE, batch, side, column)
tg_bytes_column tg_blobs_from(const char *where, tg_batch *batch, tg_side side, const char *column);
// Also dates and times.
#define tg_int64s(batch, side, column) tg_int64s_from(TG_HERE, batch, side, column)
tg_int64_column tg_int64s_from(const char *where, tg_batch *batch, tg_side side, const char *column);
#define tg_uint64s(batch, side, column) tg_uint64s_from(TG_HERE, batch, side, column)
tg_uint64_column tg_uint64s_from(const char *where, tg_batch *batch, tg_side side, const char *column);
#define tg_float64s(batch, side, column) tg_float64s_from(TG_HERE, batch, side, column)
tg_float64_column tg_float64s_from(const char *where, tg_batch *batch, tg_side side, const char *column);
#define tg_booleans(batch, side, column) tg_booleans_from(TG_HERE, batch, side, column)
tg_boolean_column tg_booleans_from(const char *where, tg_batch *batch, tg_side side, const char *column);

// The value of a row, which must be below tg_count: as tg_text, tg_int64 and their siblings.
static inline tg_str tg_text_at(const tg_text_column *column, uint32_t row) { return tg_str_of(&column->images, row); }
static inline tg_str tg_bytes_at(const tg_bytes_column *column, uint32_t row) { return tg_str_of(&column->images, row); }
static inline bool tg_int64_at(const tg_int64_column *column, uint32_t row, int64_t *out) {
  const tg_vector *vector = tg_vector_of(&column->images, row);
  if (vector) *out = (int64_t)tg_word_of(vector, row);
  return vector != NULL;
}
static inline bool tg_uint64_at(const tg_uint64_column *column, uint32_t row, uint64_t *out) {
  const tg_vector *vector = tg_vector_of(&column->images, row);
  if (vector) *out = tg_word_of(vector, row);
  return vector != NULL;
}
static inline bool tg_float64_at(const tg_float64_column *column, uint32_t row, double *out) {
  const tg_vector *vector = tg_vector_of(&column->images, row);
  if (vector) memcpy(out, vector->data + (size_t)row * 8, 8);
  return vector != NULL;
}
static inline bool tg_boolean_at(const tg_boolean_column *column, uint32_t row, bool *out) {
  const tg_vector *vector = tg_vector_of(&column->images, row);
  if (vector) *out = vector->data[row / 8] >> (row % 8) & 1;
  return vector != NULL;
}

// The same value in every row, after the change. TG_IS_NULL is one; TG_IS_ABSENT is none.
#define tg_set_all(batch, column, value) tg_set_all_from(TG_HERE, batch, column, value)
void tg_set_all_from(const char *where, tg_batch *batch, const char *column, tg_value value);

// Bytes that grow.
typedef struct tg_buffer {
  char *ptr;
  size_t len;
  size_t capacity;
} tg_buffer;
void tg_reserve(tg_buffer *buffer, size_t more);
static inline void tg_append(tg_buffer *buffer, const char *ptr, size_t len) {
  if (buffer->capacity - buffer->len < len) tg_reserve(buffer, len);
  if (len) memcpy(buffer->ptr + buffer->len, ptr, len);
  buffer->len += len;
}

// Replaces the texts of a column in both images, so that no old value gets past. `rewrite` appends the new text; NULL stays NULL
// and absent values stay absent. `context` is the caller's.
typedef void tg_rewriter(tg_str value, tg_buffer *out, void *context);
#define tg_rewrite(batch, column, rewrite, context) tg_rewrite_from(TG_HERE, batch, column, rewrite, context)
void tg_rewrite_from(const char *where, tg_batch *batch, const char *column, tg_rewriter *rewrite, void *context);

// Sends every row to this topic, but those that are routed one by one.
void tg_route_all(tg_batch *batch, const char *topic);

// ---- What a plugin remembers: a map of bytes to bytes, one for each lane, that outlives a crash, a reload and a restart. After those it is as it
// was when the last rows were settled, and the rows after those come again. What tg_process changed counts if it succeeds. A component imports the
// host's state only if the plugin calls one of these.
//
// It is there in tg_process alone, and bounded: `state` of the plugin in the manifest. A call costs more than a value, so ask for many keys at once
// where there are many rows. Each returns NULL, or what the host refused, and then nothing was changed.

// ptr of *value is NULL if there is no such key.
const char *tg_state_get(tg_str key, tg_str *value);
// The values of the keys, in their order.
const char *tg_state_get_all(const tg_str *keys, size_t len, tg_str *values);
const char *tg_state_set(tg_str key, tg_str value);
const char *tg_state_delete(tg_str key);

// A value whose ptr is NULL takes the key away.
typedef struct tg_state_change {
  tg_str key;
  tg_str value;
} tg_state_change;
// All of the changes, in their order, or none of them.
const char *tg_state_put(const tg_state_change *changes, size_t len);

typedef struct tg_state_entry {
  tg_str key;
  tg_str value;
} tg_state_entry;
// Entries in the order of their keys, from the first that is not less than `start`: at most so many, and fewer where they are long, but at least one if
// there is one.
const char *tg_state_scan(tg_str start, uint32_t entries_max, const tg_state_entry **entries, size_t *len);

// ---- What the manifest grants: `allow`. A component that calls one of these imports what it needs, and is refused where that is not granted;
// docs/security.md says what each gives. Rows that come again after a crash see another time and other numbers than before.

// The time of day, as TG_TIMESTAMP has it: allow = ["clock"].
int64_t tg_now(void);
// Random bytes: allow = ["random"].
void tg_random(void *bytes, size_t len);
// A variable of the environment: allow = ["env:NAME"]. ptr is NULL if it is not granted.
tg_str tg_env(const char *name);

#ifdef __cplusplus
}
#endif
#endif
