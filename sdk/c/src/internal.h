// What the files of the library share. bindings/plugin.h is generated from wit/v0.1/plugin.wit: the types that travel.
#ifndef TIDEGATE_INTERNAL_H
#define TIDEGATE_INTERNAL_H

#include "plugin.h"
#include "tidegate.h"

#define AFTER 0
#define BEFORE 1
// The code of a kind that this version does not know passes through; tg_kind has no name for it.
#define KIND_IS_TEXT(kind) ((kind) == TG_TEXT || (kind) == TG_DECIMAL || (kind) == TG_JSON)
#define KIND_IS_INT64(kind) ((kind) == TG_INT64 || ((kind) >= TG_DATE && (kind) <= TG_TIMESTAMP))

typedef tidegate_plugin_types_vector_t vector_t;
typedef tidegate_plugin_types_column_t column_t;
typedef tidegate_plugin_types_batch_t batch_t;
typedef exports_tidegate_plugin_transform_relation_t relation_t;
typedef exports_tidegate_plugin_transform_plan_t plan_t;
typedef exports_tidegate_plugin_transform_derivation_t derivation_t;
typedef exports_tidegate_plugin_transform_assign_t assign_t;
typedef exports_tidegate_plugin_transform_outcome_t outcome_t;
typedef exports_tidegate_plugin_transform_derived_t derived_t;
typedef plugin_list_u8_t bytes_t;

// ---- memory.c

// Zeroed. Lives until the call ends; what configure and bind allocate lives for ever.
void *tg_alloc(size_t size);
void *tg_alloc_raw(size_t size);
// What is allocated now lives for ever.
void tg_memory_keep(void);
// Frees all that was allocated since.
void tg_memory_reset(void);
// Room for one more item in a list of `len`.
void *tg_grow(void *items, size_t len, size_t size);
#define PUSH(list) ((list)->ptr = tg_grow((list)->ptr, (list)->len, sizeof *(list)->ptr), &(list)->ptr[(list)->len++])
const char *tg_c_string(const plugin_string_t *text);
// Makes UTF-8 of it: a byte that is not becomes `?`, for the host refuses such strings.
void tg_make_utf8(plugin_string_t *text);
// A copy that is UTF-8.
plugin_string_t tg_utf8(const char *text);

static inline bool bit(const uint8_t *bits, size_t i) { return bits[i / 8] >> (i % 8) & 1; }
static inline void set_bit(uint8_t *bits, size_t i) { bits[i / 8] |= (uint8_t)(1 << (i % 8)); }
static inline void clear_bit(uint8_t *bits, size_t i) { bits[i / 8] &= (uint8_t)~(1 << (i % 8)); }
static inline size_t bitmap_len(size_t rows) { return (rows + 7) / 8; }

// ---- log.c

// The row that TG_ROWS is at; -1: none.
extern int64_t tg_current_row;
// Where a panic goes in tests, instead of ending the program.
extern void (*tg_on_panic)(const char *message);

// ---- plan.c

typedef struct derivation {
  const char *name; // schema.table
  size_t columns_len;
  tg_column *columns;
} derivation;

// A relation and what was asked of it.
typedef struct bound {
  struct bound *next;
  tg_relation relation;
  size_t columns_len; // of the relation, then those added
  tg_column *columns;
  uint8_t *reads; // by column: bits READS_*
  size_t metadata_len;
  uint8_t *metadata;
  size_t derives_len;
  derivation *derives;
  // Names are mostly literals: the column that the same pointer named the last time.
  struct { const char *name; uint16_t index; } found[16];
} bound;
#define READS_AFTER 1
#define READS_BEFORE 2

tg_relation tg_relation_from(const relation_t *wire);
// Calls tg_bind. *out is NULL for a table that does not concern the plugin.
const char *tg_plan_of(const tg_relation *relation, plan_t *wire, bound **out);

// ---- patches.c

// Values of one column of one image that were set row by row.
typedef struct cells {
  uint16_t index;
  uint8_t image;
  uint8_t kind;
  bool has_nulls;
  bool in_order; // values of variable length were set in the order of the rows
  uint32_t rows_len;
  uint32_t next;
  uint8_t *rows; // bitmap: which are set
  uint8_t *nulls;
  uint8_t *fixed; // words and bits
  struct { uint32_t start, len; } *spans; // of each row, in `data`
  tg_buffer data;
} cells;

cells *tg_cells_new(uint16_t index, uint8_t image, uint8_t kind, uint32_t rows);
// False: the value does not fit the kind.
bool tg_cells_set(cells *c, uint32_t row, const tg_value *value);
vector_t tg_cells_vector(const cells *c, uint32_t rows);

typedef struct topic_lists {
  exports_tidegate_plugin_transform_by_row_t lists;
  uint16_t *of_row; // NULL until the first is set
  uint32_t slots; // of the hash table, a power of two
  struct { uint32_t hash; uint16_t list; bool used; } *slot;
  // Names are mostly literals: the list of the topic that the same pointer named the last time.
  struct { const char *name; uint16_t list; } recent[16];
  struct { uint16_t have, with, both; } *several;
  size_t several_len;
} topic_lists;

#define UNROUTED UINT16_MAX
void tg_topics_set(topic_lists *topics, uint32_t rows, uint32_t row, const char *topic, bool also);

// ---- batch.c

// The rows of one derived table that were made of a batch, in the order of their making.
typedef struct made {
  struct { uint32_t *ptr; size_t len; } origins;
  struct { uint8_t *ptr; size_t len; } ops;
  struct { struct value { uint32_t row; uint16_t column; uint8_t image; tg_value value; } *ptr; size_t len; } values;
} made;

struct tg_batch {
  const bound *bound;
  const batch_t *wire;
  uint32_t rows;
  bool has_deletes;
  tg_vector *vectors; // those passed, in the order of wire->columns, then the metadata
  tg_vector **images[2]; // by column; NULL: not passed
  outcome_t outcome;
  cells **cells[2]; // by column
  struct { cells **ptr; size_t len; } order;
  topic_lists topics;
  const char *all; // the topic of tg_route_all
  made *made; // one a derived table
};

// Calls tg_process.
const char *tg_run(const bound *bound, const batch_t *wire, outcome_t *outcome);
// The index of a column of the relation or an added one; panics.
uint16_t tg_column_index(const char *where, const tg_batch *batch, const char *name);
// The value of a row in a vector that the host or this library made.
tg_value tg_value_of(uint8_t kind, const tg_vector *vector, uint32_t row);
void tg_take_vector(tg_vector *to, const vector_t *from);
tg_images tg_images_from(const tg_batch *batch, const tg_vector *after, const tg_vector *before);
// Both images of a column, which the plan must read.
tg_images tg_images_of(const char *where, tg_batch *batch, tg_side side, const char *name, uint16_t *index);
void tg_wrong_kind(const char *where, const char *table, const tg_column *column) TG_NORETURN;

#endif
