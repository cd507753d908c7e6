/* journal.h - what the files of the journal share, and head.bin with them: bytes, texts, records, the index. */
#ifndef EDGEMETA_JOURNAL_H
#define EDGEMETA_JOURNAL_H

#include "internal.h"

#include <string.h>

/* ---- bytes: everything on disk is little-endian, on any machine ------------------------------------------------ */

static inline uint32_t emj_load16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static inline uint32_t emj_load32(const uint8_t *p)
{
    return emj_load16(p) | emj_load16(p + 2) << 16;
}

static inline uint64_t emj_load64(const uint8_t *p)
{
    return (uint64_t)emj_load32(p) | (uint64_t)emj_load32(p + 4) << 32;
}

static inline void emj_store16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void emj_store32(uint8_t *p, uint32_t value)
{
    emj_store16(p, value);
    emj_store16(p + 2, value >> 16);
}

static inline void emj_store64(uint8_t *p, uint64_t value)
{
    emj_store32(p, (uint32_t)value);
    emj_store32(p + 4, (uint32_t)(value >> 32));
}

static inline int32_t emj_signed(uint32_t value)
{
    return value <= INT32_MAX ? (int32_t)value : -(int32_t)(UINT32_MAX - value) - 1;
}

static inline double emj_double(uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t emj_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline int emj_finite(double value)
{
    return (emj_bits(value) >> 52 & 0x7ff) != 0x7ff;
}

/* ---- texts: journal_text.c --------------------------------------------------------------------------------------- */

/* Whether these bytes are UTF-8: no surrogates, no overlong forms. */
int emj_is_utf8(const uint8_t *text, size_t size);
/* Whether they are a label: 1 to 255 bytes of UTF-8, no control characters, something to see. */
int emj_is_label(const uint8_t *text, size_t size);
/* The length of a text that ends in a zero; 256 for one of more than 255 bytes. */
size_t emj_length(const char *text);

/* ---- records: journal_format.c ----------------------------------------------------------------------------------- */

#define EMJ_HEADER 128u
#define EMJ_FRAME 16u
#define EMJ_EXAMPLE 80u
#define EMJ_SEAL 48u
#define EMJ_RANGE 32u
#define EMJ_IDENTITY 40u
#define EMJ_COMMIT 48u
#define EMJ_MAX_COUNTER ((uint64_t)1 << 63)
#define EMJ_CLOCK_END ((uint64_t)1 << 62)

#define EMJ_LONGEST_RESUMPTION 8192u
#define EMJ_RESUMPTION_RECORDS 3u

enum { EMJ_IS_EXAMPLE = 1, EMJ_IS_TOMBSTONE, EMJ_IS_SEAL, EMJ_IS_IDENTITY, EMJ_IS_COMMIT, EMJ_IS_FILLER };
enum { EMJ_COMPACTION = 1, EMJ_MERGE = 2, EMJ_RESUMES = 4 }; /* flags of a commit */

typedef struct emj_header {
    uint8_t uuid[16], embedding_id[32], place[16];
    uint32_t dim, minor, seed; /* seed: the header's CRC */
    uint64_t next, base, salt;
    int is_volatile;
} emj_header;

typedef struct emj_frame {
    uint32_t kind, flags, length, crc;
} emj_frame;

typedef struct emj_commit {
    uint64_t number, undoes, synced, start;
    uint32_t records, flags, checksum;
} emj_commit;

/* Texts lead into the bytes that were decoded. */
typedef struct emj_example {
    em_id id, origin;
    uint32_t has_group, label_size, group_size, variant_size, axes, targets;
    uint32_t arrays; /* where in the payload the embedding begins */
    uint32_t texts;  /* bytes of the texts together */
    const uint8_t *label, *group, *variant;
} emj_example;

typedef struct emj_seal_head {
    uint32_t moment, label_size, ranges;
    uint32_t at;  /* where in the payload the ranges begin, and */
    uint32_t end; /* end: the sums follow */
    uint64_t count;
} emj_seal_head;

uint64_t emj_record_size(uint32_t length);
/* Of a seal's payload; more than UINT32_MAX cannot be. */
uint64_t emj_seal_length(uint32_t label_size, uint32_t ranges, uint32_t dim, int moment);
void emj_header_encode(emj_header *header, uint8_t *out);
int emj_header_decode(const uint8_t *data, size_t size, emj_header *out);
/* 1 where 16 bytes are a frame of the file with this seed. */
int emj_frame_decode(const uint8_t *data, uint32_t seed, emj_frame *out);
void emj_commit_encode(const emj_commit *commit, uint8_t *out);
void emj_commit_decode(const uint8_t *data, emj_commit *out);
void emj_id_encode(const uint8_t *uuid, uint64_t counter, uint8_t *out);
/* These give EM_OK or EM_ERR_DAMAGED. length: of the payload. */
int emj_range_check(const uint8_t *data);
int emj_example_decode(const uint8_t *data, uint32_t length, uint32_t dim, emj_example *out); /* 80 bytes */
int emj_example_texts(const uint8_t *data, emj_example *out);
int emj_seal_decode(const uint8_t *data, uint32_t length, uint32_t dim, emj_seal_head *out); /* 48 bytes */
int emj_is_zero(const uint8_t *data, size_t size);

/* ---- reading through a small buffer: journal_source.c ------------------------------------------------------------ */

#define EMJ_BUFFER 4096u

typedef struct emj_source {
    const em_store *store;
    uint64_t limit; /* the length of the file, so far as it is looked at */
    uint32_t seed;
    uint8_t *buffer;
    uint64_t at;
    size_t size;
} emj_source;

/* A record whose frame was found right. */
typedef struct emj_record {
    uint64_t offset, end;
    emj_frame frame;
} emj_record;

/* 1, 0 where there is no such thing, or a negative status. */
int emj_get(emj_source *source, uint64_t offset, size_t size, const uint8_t **out); /* size: at most EMJ_BUFFER */
int emj_read_frame(emj_source *source, uint64_t offset, emj_record *out);
int emj_check_body(emj_source *source, const emj_record *record, uint32_t *crc);
int emj_find_magic(emj_source *source, uint64_t *offset);
/* The same where it must be there: EM_OK, or EM_ERR_DAMAGED. */
int emj_bytes(emj_source *source, uint64_t offset, size_t size, const uint8_t **out);
int emj_copy(emj_source *source, uint64_t offset, void *out, uint64_t size);
int emj_expect(emj_source *source, uint64_t offset, uint32_t kind, emj_record *out); /* with its CRC */
int emj_read_example(emj_source *source, const emj_record *record, uint32_t dim, emj_example *out);
/* The first 48 bytes of a seal's payload, which `data` leads to too (until the next read). */
int emj_read_seal(emj_source *source, const emj_record *record, uint32_t dim, emj_seal_head *out, const uint8_t **data);
/* Whether the `size` bytes of int32 at `at` are all within the grid. */
int emj_check_embedding(emj_source *source, uint64_t at, uint64_t size);
/* `count` finite numbers from `at` on, to `out` unless that is NULL. */
int emj_read_numbers(emj_source *source, uint64_t at, uint64_t count, double *out);
/* EM_OK where the bytes [at, at + size) of both are equal, EM_ERR_VALUE where they are not. */
int emj_compare(emj_source *a, uint64_t a_at, emj_source *b, uint64_t b_at, uint64_t size);

/* ---- sets of ids, as runs: journal_ranges.c ---------------------------------------------------------------------- */

typedef struct emj_uuid {
    uint8_t bytes[16];
    uint64_t highest; /* one more than the largest counter of an example that was taken in */
    uint32_t rank[2]; /* of a set: which uuid it met first; 0: never */
} emj_uuid;

typedef struct emj_range {
    uint64_t first, end;
    uint32_t uuid, rank;
} emj_range;

/* Sorted by rank and counter, so that it is walked as Python walks its sets. */
typedef struct emj_ranges {
    emj_range *items;
    emj_uuid *uuids;
    uint32_t count, room, ranks;
    uint32_t which; /* of emj_uuid.rank */
} emj_ranges;

void emj_ranges_clear(emj_ranges *set, uint32_t uuids);
int emj_ranges_add(emj_ranges *set, uint32_t uuid, uint64_t first, uint64_t end); /* EM_OK or EM_ERR_FULL */
int emj_ranges_hold(const emj_ranges *set, uint32_t uuid, uint64_t counter);
/* How many ids of [first, end) are in it. */
uint64_t emj_ranges_shared(const emj_ranges *set, uint32_t uuid, uint64_t first, uint64_t end);
/* The first run of this uuid that ends behind `counter`, or NULL. */
const emj_range *emj_ranges_from(const emj_ranges *set, uint32_t uuid, uint64_t counter);
/* How many ids two lists of disjoint runs share. */
uint64_t emj_runs_shared(const emj_range *a, uint32_t a_count, const emj_range *b, uint32_t b_count);
/* How many more runs `set` has with all of `more`, which it does not overlap. */
int64_t emj_ranges_growth(const emj_ranges *set, const emj_ranges *more);

/* ---- the object -------------------------------------------------------------------------------------------------- */

typedef struct emj_live {
    uint64_t counter, offset, group;
    uint32_t uuid, of_class, length; /* length: of the record's payload */
    uint32_t mark;
} emj_live;

typedef struct emj_class {
    uint64_t count;
    uint32_t hash, size;
} emj_class;

typedef struct emj_seal {
    uint64_t count, offset;
    uint32_t of_class, length, first_range, ranges; /* length: of the record's payload */
    uint32_t moment, unused;
} emj_seal;

typedef struct emj_undo {
    uint64_t number, start;
    uint32_t live, unused; /* live: how many there were before it */
} emj_undo;

struct em_journal {
    em_store store;
    em_journal_limits limits;
    emj_header header;
    emj_source source;
    uint8_t *out; /* EMJ_BUFFER bytes for writing */
    int mode;
    uint32_t wanted;  /* targets */
    int own;          /* whether the current uuid may give ids in this session */
    int unusable;     /* nothing can be written until it is opened again */
    int broken;       /* nothing can be read either */
    uint64_t torn;
    uint32_t block;     /* EM_JOURNAL_FLASH; else 1 */
    uint64_t resume_at; /* where the next transaction has to go on, behind torn bytes; 0: where the last one ends */
    uint32_t voids;     /* how many torn places were passed over */

    /* the state: what the transactions up to `end` say */
    uint64_t end, number, synced, next;
    uint64_t clock; /* above every counter that was seen, but for those from EMJ_CLOCK_END on */
    int has_number, is_volatile, mixed;
    uint32_t uuid, targets;
    uint8_t place[16];
    uint32_t uuid_count, live_count, class_count, seal_count, pool_count, undo_count;
    emj_uuid *uuids;
    emj_live *live;
    emj_class *classes;
    char *labels;
    emj_seal *seals;
    emj_range *pool; /* the ranges of all seals, one seal after another */
    uint32_t staged_seals, staged_ranges; /* behind them: seals that a draft adds, and their ranges */
    emj_undo *undo;
    emj_ranges dead, draft;
};

/* ---- the index: journal_index.c ---------------------------------------------------------------------------------- */

int emj_uuid_find(const em_journal *journal, const uint8_t *bytes); /* its number or EM_ERR_NOT_FOUND */
int emj_uuid_take(em_journal *journal, const uint8_t *bytes);       /* the same, made if new, or EM_ERR_FULL */
int emj_class_find(const em_journal *journal, const uint8_t *label, size_t size);
int emj_class_take(em_journal *journal, const uint8_t *label, size_t size);
int emj_live_find(const em_journal *journal, uint32_t uuid, uint64_t counter);
uint64_t emj_group_hash(const uint8_t *group, size_t size);
/* Take the live examples out that are in `dead`, those between the counters alone. Returns how many. */
uint32_t emj_live_bury(em_journal *journal, uint64_t low, uint64_t high);
/* Take the seals out that are dead: how many, or EM_ERR_DAMAGED where one is so in part. */
int emj_seals_bury(em_journal *journal);
void emj_seal_drop(em_journal *journal, uint32_t index);
/* The ranges of a seal to the end of the pool (emj_pool_tail), not counted yet. EM_OK, EM_ERR_FULL, EM_ERR_DAMAGED. */
int emj_seal_ranges(em_journal *journal, const emj_record *record, const emj_seal_head *head);
/* A seal whose `ranges` runs follow the pool's counted ones takes the place of the seals and examples that they hold:
 * these go. EM_ERR_DAMAGED where it overlaps a seal in part. Returns whether anything went. */
int emj_seal_displace(em_journal *journal, uint32_t ranges);
/* An id was met: the next ones are above it. end: one more than the counter. */
void emj_note_used(em_journal *journal, uint32_t uuid, uint64_t end);

static inline emj_range *emj_pool_tail(const em_journal *journal)
{
    return journal->pool + journal->pool_count + journal->staged_ranges;
}

static inline uint32_t emj_pool_room(const em_journal *journal)
{
    return journal->limits.seal_ranges - journal->pool_count - journal->staged_ranges;
}

static inline char *emj_label_of(const em_journal *journal, uint32_t of_class)
{
    return journal->labels + (size_t)of_class * (journal->limits.label_bytes + 1);
}
void emj_note_undo(em_journal *journal, uint64_t number, uint64_t start, uint32_t live);
void emj_forget_undo(em_journal *journal, uint64_t number);
void emj_note_targets(em_journal *journal, uint32_t targets);

/* ---- reading transactions: journal_scan.c ------------------------------------------------------------------------ */

typedef struct emj_transaction {
    uint64_t start, commit_at, end;
    uint32_t kinds; /* bit 1 << kind */
    emj_commit commit;
} emj_transaction;

/* The transaction at `at`, or the one that goes on behind torn bytes there: 1, or 0 where there is none. number: of the
 * one before, or NULL. */
int emj_next_transaction(em_journal *journal, uint64_t at, const uint64_t *number, emj_transaction *out);
/* Everything from journal->end on. Afterwards end is the end of the last transaction. */
int emj_scan(em_journal *journal);
/* What a transaction says, into the index: journal_apply.c. */
int emj_apply(em_journal *journal, const emj_transaction *transaction);

typedef int (*emj_visit)(void *of, const emj_record *record);
/* Hand the records of one kind to `take`: those in the bytes [start, end), which one transaction holds whole, or all of
 * the transactions before `end`. journal_undo.c. */
int emj_walk_records(em_journal *journal, uint64_t start, uint64_t end, uint32_t kind, emj_visit take, void *of);
int emj_walk(em_journal *journal, uint64_t end, uint32_t kind, emj_visit take, void *of);

/* ---- writing: journal_sink.c and journal_write.c ----------------------------------------------------------------- */

typedef struct emj_sink {
    em_write write;
    void *to;
    uint8_t *buffer; /* EMJ_BUFFER bytes */
    size_t fill;
    uint64_t offset; /* in the file, of the next byte */
    uint32_t seed, crc, length, checksum, records;
    int status;
} emj_sink;

void emj_sink_bytes(emj_sink *sink, const void *data, size_t size);
void emj_sink_flush(emj_sink *sink);
void emj_sink_begin(emj_sink *sink, uint32_t kind, uint32_t length);
void emj_sink_put(emj_sink *sink, const void *data, size_t size);
void emj_sink_end(emj_sink *sink);
void emj_sink_record(emj_sink *sink, uint32_t kind, const uint8_t *payload, uint32_t length);
/* So many bytes of filler (a multiple of 8; 0, or at least 24). */
void emj_sink_filler(emj_sink *sink, uint64_t size);
void emj_sink_ranges(emj_sink *sink, const emj_ranges *set);
void emj_sink_commit(emj_sink *sink, emj_commit *commit);
/* A record that is in the file already; new_id (24 bytes) or NULL: under a new id, with the old one as origin. */
void emj_sink_copy(emj_sink *sink, emj_source *source, uint64_t offset, uint32_t kind, const uint8_t *new_id);

/* A transaction before it is written. What it forgets is journal->draft; what it adds is staged behind the live
 * examples and behind the seals. */
typedef struct emj_draft {
    int has_identity;
    uint8_t place[16];
    uint32_t uuid, uuids_before, classes_before, staged;
    uint64_t next, undoes;
    uint32_t flags; /* of the commit */
    uint64_t start; /* where it is written, 0: where the last one ends */
    /* Where what is staged comes from. All NULL: from the file itself, under new ids. */
    const em_example *examples; /* the caller's */
    em_journal *other;          /* another journal, ids and all; its seals are written before its examples */
    const char *label;          /* the file itself, under new ids and this label */
} emj_draft;

/* Write what is staged: journal_put.c. Gives ids out, and sets where the records lie. */
void emj_put_examples(em_journal *journal, emj_draft *draft, emj_sink *sink);
void emj_put_seals(em_journal *journal, emj_draft *draft, emj_sink *sink);
/* The record of a seal up to its sums. origin: 24 bytes. */
void emj_put_seal_head(em_journal *journal, emj_sink *sink, const emj_seal *seal, const uint8_t *origin);

int emj_check_writable(const em_journal *journal);
/* A fresh identity in the draft where one is due. */
int emj_draft_begin(em_journal *journal, emj_draft *draft);
emj_live *emj_draft_stage(em_journal *journal, emj_draft *draft, const uint8_t *label, size_t size, int *status);
/* One more behind the seals; its class counts it already. `ranges` of its runs lie at the pool's tail. */
emj_seal *emj_draft_seal(em_journal *journal, const uint8_t *label, size_t size, uint64_t count, uint32_t ranges,
                         int *status);
/* As if it had never begun. Returns the status. */
int emj_draft_drop(em_journal *journal, emj_draft *draft, int status);
int emj_draft_finish(em_journal *journal, emj_draft *draft);
/* Stage what a transaction removed, to come back: journal_removed.c. live_before: how many live examples it met. */
int emj_stage_removed(em_journal *journal, emj_draft *draft, const emj_transaction *found, uint64_t live_before);
/* 16 random bytes that are no uuid yet, to the uuids: its number. */
int emj_fresh_uuid(em_journal *journal);
int emj_place(const em_store *store, uint8_t *place);

/* What a rewriting seals: the examples that are marked and the seals of this class that are or are not with a moment,
 * into one. `ranges` of its runs lie at the pool's tail. */
typedef struct emj_sealing {
    uint32_t of_class, moment, ranges, examples, length;
    uint64_t count;
    const double *sums; /* (dim,), then the upper triangle with a moment */
} emj_sealing;

/* Rewrite the file: journal_compact.c. sealing: NULL for none. */
int emj_rewrite(em_journal *journal, const emj_sealing *sealing);

/* Raw flash: journal_flash.c. */
static inline int emj_syncs(const em_journal *journal)
{
    return journal->mode != EM_JOURNAL_LAZY; /* of a writer: whether each call is durable */
}

/* Bytes of filler between `end` and a commit, so that this ends at a multiple of the block. */
uint64_t emj_filler(uint32_t block, uint64_t end);
/* EM_ERR_FULL where a transaction of `size` bytes at `start` has no room in the region. */
int emj_flash_room(const em_journal *journal, uint64_t start, uint64_t size);
/* Instead of cutting a torn end off. */
int emj_flash_begin(em_journal *journal, int made);
/* Go on behind the torn bytes, where that is still to do. */
int emj_flash_resume(em_journal *journal);

/* Read and check the header of what lies in the store, into header and source.seed. */
int emj_read_header(em_journal *journal, emj_header *out);

/* SHA-256 of what the places of files are made from: journal_sha256.c. */
typedef struct emj_sha256 {
    uint32_t state[8];
    uint64_t size;
    uint8_t block[64];
} emj_sha256;

void emj_sha256_begin(emj_sha256 *hash);
void emj_sha256_add(emj_sha256 *hash, const void *data, size_t size);
void emj_sha256_end(emj_sha256 *hash, uint8_t out[32]);

#endif
